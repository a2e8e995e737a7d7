// The middle pixel of each window: of the words of a window, the COUNT from FIRST on go on, the others end here.
//
// A word of the input holds IW bits, of which W from OFFSET on go on; a window that comes in one word (WORDS 1) gives its middle.
module window_centre #(
	int unsigned IW = 8,     // bits of an input's word
	int unsigned W = 8,      // of an output's
	int unsigned OFFSET = 0, // the output's first in an input's word
	int unsigned WORDS = 9,  // words a window
	int unsigned FIRST = 4,
	int unsigned COUNT = 1,

	localparam int unsigned IN_BITS = (IW+7)/8*8,
	localparam int unsigned OUT_BITS = (W+7)/8*8
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic [IN_BITS-1:0] in0_V_TDATA,
	input  logic in0_V_TVALID,
	output logic in0_V_TREADY,

	output logic [OUT_BITS-1:0] out0_V_TDATA,
	output logic out0_V_TVALID,
	input  logic out0_V_TREADY
);
	localparam int unsigned CW = (WORDS > 1)? $clog2(WORDS) : 1;

	logic [CW-1:0] word;
	wire take = in0_V_TVALID && in0_V_TREADY;
	wire enter = take && 32'(word) >= FIRST && 32'(word) < FIRST + COUNT;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) word <= '0;
		else if(take) word <= (word == CW'(WORDS-1))? '0 : word + 1'b1;
	end

	logic push;
	logic [W-1:0] middle;
	always_ff @(posedge ap_clk) begin
		middle <= in0_V_TDATA[OFFSET+:W];
		push <= ap_rst_n && enter;
	end

	logic [W-1:0] q;
	assign out0_V_TDATA = OUT_BITS'(q);
	output_queue #(.W(W), .DEPTH(16)) queue (
		.ap_clk, .ap_rst_n,
		.ready(in0_V_TREADY), .enter, .push, .push_tdata(middle),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial if(COUNT == 0 || FIRST + COUNT > WORDS || OFFSET + W > IW)
		$error("window_centre: words %0d to %0d of %0d, bits from %0d of %0d", FIRST, FIRST+COUNT, WORDS, OFFSET, IW);
`endif
endmodule
