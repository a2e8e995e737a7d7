// y = clamp(a + b) of two streams, PE lanes, one word a cycle. A word of one stream waits for the other's.
module add_clamp #(
	int unsigned PE = 1,  // lanes
	int unsigned AW = 8,  // bits of an element of stream 0
	int unsigned BW = 8,  // and of stream 1
	int unsigned OW = 8,  // bits of an output
	bit A_SIGNED = 0,
	bit B_SIGNED = 1,
	bit OUT_SIGNED = 0,

	localparam int unsigned A_BITS = (PE*AW+7)/8*8,
	localparam int unsigned B_BITS = (PE*BW+7)/8*8,
	localparam int unsigned OUT_BITS = (PE*OW+7)/8*8
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic [A_BITS-1:0] in0_V_TDATA,
	input  logic in0_V_TVALID,
	output logic in0_V_TREADY,

	input  logic [B_BITS-1:0] in1_V_TDATA,
	input  logic in1_V_TVALID,
	output logic in1_V_TREADY,

	output logic [OUT_BITS-1:0] out0_V_TDATA,
	output logic out0_V_TVALID,
	input  logic out0_V_TREADY
);
	localparam int unsigned MW = (AW > BW)? AW : BW;
	localparam int unsigned UW = ((MW > OW)? MW : OW) + 2;

	logic ready;
	wire enter = ready && in0_V_TVALID && in1_V_TVALID;
	assign in0_V_TREADY = ready && in1_V_TVALID;
	assign in1_V_TREADY = ready && in0_V_TVALID;

	logic [1:0] valid;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) valid <= '0;
		else valid <= {valid[0], enter};
	end

	logic [PE*OW-1:0] y;
	for(genvar lane = 0; lane < PE; lane++) begin : lanes
		wire [AW-1:0] a = in0_V_TDATA[lane*AW+:AW];
		wire [BW-1:0] b = in1_V_TDATA[lane*BW+:BW];
		logic [UW-1:0] sum;
		always_ff @(posedge ap_clk)
			sum <= {{(UW-AW){A_SIGNED && a[AW-1]}}, a} + {{(UW-BW){B_SIGNED && b[BW-1]}}, b};

		wire negative = sum[UW-1];
		if(OUT_SIGNED) begin : signed_output
			wire over = !negative && |sum[UW-2:OW-1];
			wire under = negative && !(&sum[UW-2:OW-1]);
			always_ff @(posedge ap_clk)
				y[lane*OW+:OW] <= over? {1'b0, {(OW-1){1'b1}}} : under? {1'b1, {(OW-1){1'b0}}} : sum[OW-1:0];
		end
		else begin : unsigned_output
			wire over = |sum[UW-2:OW];
			always_ff @(posedge ap_clk)
				y[lane*OW+:OW] <= negative? '0 : over? '1 : sum[OW-1:0];
		end
	end

	logic [PE*OW-1:0] q;
	assign out0_V_TDATA = OUT_BITS'(q);
	output_queue #(.W(PE*OW), .DEPTH(16)) queue (
		.ap_clk, .ap_rst_n,
		.ready, .enter, .push(valid[1]), .push_tdata(y),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial begin
		if(PE == 0) $error("add_clamp: PE must be at least 1");
		if(AW < 2 || BW < 2 || OW < 2) $error("add_clamp: AW, BW and OW must be at least 2");
	end
`endif
endmodule
