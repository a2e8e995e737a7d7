// For simulation only: what takes the place of FIFOs while their depths are found (hw/pleinair_hw/stitch/write.py, purpose "sizing").

// A queue whose capacity is chosen when the simulation starts; 0 is a wire. It gives a word out two cycles after it came
// in, as FINN's shallow FIFOs do.
module stream_gauge #(
	int unsigned W
)(
	input logic ap_clk,
	input logic ap_rst_n,
	input logic [31:0] capacity,
	output logic [31:0] maxcount,  // the most words held since reset

	input logic [W-1:0] in0_V_TDATA,
	input logic in0_V_TVALID,
	output logic in0_V_TREADY,
	output logic [W-1:0] out0_V_TDATA,
	output logic out0_V_TVALID,
	input logic out0_V_TREADY
);
	wire wired = capacity == 0;

	logic [W-1:0] Words[$];
	logic [W-1:0] Data = 0;
	logic Valid = 0;
	logic Ready = 0;
	logic [31:0] Count = 0;
	logic [31:0] MaxCount = 0;

	wire push = in0_V_TVALID && Ready;
	wire pop = Valid && out0_V_TREADY;
	wire [31:0] held = Count + 32'(push) - 32'(pop);
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n || wired) begin
			Words.delete();
			Count <= 0;
			MaxCount <= 0;
			Valid <= 0;
			Ready <= ap_rst_n && !wired;
		end
		else begin
			Count <= held;
			if(held > MaxCount)  MaxCount <= held;
			Ready <= held < capacity;
			if(!Valid || pop) begin
				Valid <= Words.size() != 0;
				if(Words.size() != 0)  Data <= Words.pop_front();
			end
			if(push)  Words.push_back(in0_V_TDATA);
		end
	end

	assign maxcount = MaxCount;
	assign in0_V_TREADY = wired? out0_V_TREADY : Ready;
	assign out0_V_TVALID = wired? in0_V_TVALID : Valid;
	assign out0_V_TDATA = wired? in0_V_TDATA : Data;

endmodule : stream_gauge

// Lets at most WORDS words through in `period` cycles, evenly spread; a period of 0 lets all through.
module stream_pacer #(
	int unsigned W,
	int unsigned WORDS
)(
	input logic ap_clk,
	input logic ap_rst_n,
	input logic [31:0] period,

	input logic [W-1:0] in0_V_TDATA,
	input logic in0_V_TVALID,
	output logic in0_V_TREADY,
	output logic [W-1:0] out0_V_TDATA,
	output logic out0_V_TVALID,
	input logic out0_V_TREADY
);
	logic [31:0] Phase = 0;
	logic [31:0] Due = 1;  // words that may pass by now

	wire open = period == 0 || Due != 0;
	wire pass = open && in0_V_TVALID && out0_V_TREADY;
	wire tick = Phase + WORDS >= period;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			Phase <= 0;
			Due <= 1;
		end
		else begin
			Phase <= Phase + WORDS - (tick? period : 0);
			Due <= Due + 32'(tick) - 32'(pass);
		end
	end

	assign in0_V_TREADY = open && out0_V_TREADY;
	assign out0_V_TVALID = open && in0_V_TVALID;
	assign out0_V_TDATA = in0_V_TDATA;

endmodule : stream_pacer
