// A stream to OUTPUTS sinks, each of which takes every word at its own time; one word a cycle when all take at once.
//
// All sinks see the same data register. A word leaves it when the last sink has taken it; meanwhile one more is accepted,
// so that the input's ready is a register too.
module stream_fork #(
	int unsigned W = 8,
	int unsigned OUTPUTS = 2
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic [W-1:0] in_tdata,
	input  logic in_tvalid,
	output logic in_tready,

	output logic [W-1:0] out_tdata,
	output logic [OUTPUTS-1:0] out_tvalid,
	input  logic [OUTPUTS-1:0] out_tready
);
	logic [W-1:0] next;  // a word accepted while out_tdata was still waiting
	logic full;          // there is one

	wire [OUTPUTS-1:0] waiting = out_tvalid & ~out_tready;
	wire enter = in_tvalid && in_tready;
	wire free = waiting == '0; // out_tdata can take another word

	always_ff @(posedge ap_clk) begin
		if(free) out_tdata <= full? next : in_tdata;
		if(in_tready) next <= in_tdata;
	end

	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			in_tready <= 1'b0;
			full <= 1'b0;
			out_tvalid <= '0;
		end
		else if(free) begin
			in_tready <= 1'b1;
			full <= 1'b0;
			out_tvalid <= {OUTPUTS{full || enter}};
		end
		else begin
			in_tready <= !(full || enter);
			full <= full || enter;
			out_tvalid <= waiting;
		end
	end

`ifndef SYNTHESIS
	initial if(OUTPUTS == 0) $error("stream_fork: OUTPUTS must be at least 1");
`endif
endmodule
