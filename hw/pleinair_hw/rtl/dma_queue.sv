// A queue of words in tables, with a register at its end (dma_read, dma_write). Whoever writes knows that there is room.
module dma_queue #(
	int unsigned W = 65,
	int unsigned DEPTH = 64          // a power of two
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic push,
	input  logic [W-1:0] in_data,

	output logic [W-1:0] out_data,
	output logic out_valid,
	input  logic out_ready
);
	localparam int unsigned AW = $clog2(DEPTH);
	(* ram_style = "distributed" *) logic [W-1:0] memory[DEPTH];
	logic [AW:0] head, tail;
	wire move = head != tail && (!out_valid || out_ready);
	always_ff @(posedge ap_clk) begin
		if(push) memory[head[AW-1:0]] <= in_data;
		if(move) out_data <= memory[tail[AW-1:0]];
		if(!ap_rst_n) begin
			head <= '0;
			tail <= '0;
			out_valid <= 1'b0;
		end
		else begin
			if(push) head <= head + 1;
			if(move) tail <= tail + 1;
			out_valid <= move || (out_valid && !out_ready);
		end
	end

`ifndef SYNTHESIS
	always_ff @(posedge ap_clk)
		if(ap_rst_n) assert(!push || (AW+1)'(head - tail) != (AW+1)'(DEPTH)) else $error("dma_queue: a word too many");
`endif
endmodule
