// The output of a pipeline that never stalls: a small queue that counts words from the moment they enter the pipeline.
//
// The pipeline may take a word only while `ready` is high, and says so with `enter`; so many cycles later as it likes it
// hands the result to the queue with `push`. `ready` and the outputs are registers: no handshake passes through
// combinationally. DEPTH (a power of two) must exceed the pipeline's length by 6 to keep one word a cycle.
module output_queue #(
	int unsigned W = 8,
	int unsigned DEPTH = 16
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	output logic ready,
	input  logic enter,
	input  logic push,
	input  logic [W-1:0] push_tdata,

	output logic [W-1:0] out_tdata,
	output logic out_tvalid,
	input  logic out_tready
);
	localparam int unsigned AW = $clog2(DEPTH);

	(* ram_style = "distributed" *) logic [W-1:0] mem[DEPTH];
	logic [AW-1:0] wptr, rptr;
	logic [AW:0] count;  // words in the pipeline, in mem and in the output register

	wire pop = out_tvalid && out_tready;
	wire load = (wptr != rptr) && (!out_tvalid || out_tready);

	always_ff @(posedge ap_clk) begin
		if(push) mem[wptr] <= push_tdata;
		if(load) out_tdata <= mem[rptr];
	end

	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			wptr <= '0;
			rptr <= '0;
			count <= '0;
			ready <= 1'b0;
			out_tvalid <= 1'b0;
		end
		else begin
			if(push) wptr <= wptr + 1'b1;
			if(load) rptr <= rptr + 1'b1;
			if(enter != pop) count <= enter? count + 1'b1 : count - 1'b1;
			// One word may enter before this count shows it, another in the next cycle; never DEPTH of them.
			ready <= count < (AW+1)'(DEPTH-2);
			out_tvalid <= load || (out_tvalid && !out_tready);
		end
	end

`ifndef SYNTHESIS
	initial begin
		if(DEPTH < 4 || (DEPTH & (DEPTH-1)) != 0) $error("output_queue: DEPTH is %0d, not a power of two from 4 up", DEPTH);
	end
	always_ff @(posedge ap_clk) begin
		if(ap_rst_n) assert(!enter || ready) else $error("output_queue: a word entered without leave");
	end
`endif
endmodule
