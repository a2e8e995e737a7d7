// Space to depth: blocks of B x B pixels, each the channels of one. NHWC stream, CF words a pixel.
//
// Input: rows of WO*B pixels. Output: for each block, its B rows of B pixels. All rows of a block but the last are kept in
// the memory; the last goes past it. So the input waits while the blocks' upper rows are read, and a row of blocks takes
// (2*B-1)*WO*B*CF cycles. Rows of blocks are alike, so the image's height is no parameter.
module space_to_depth #(
	int unsigned W = 8,   // bits of a word
	int unsigned CF = 1,  // words a pixel
	int unsigned B = 4,   // rows and columns of a block
	int unsigned WO = 4,  // blocks a row
	parameter RAM_STYLE = "auto",

	localparam int unsigned BITS = (W+7)/8*8
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic [BITS-1:0] in0_V_TDATA,
	input  logic in0_V_TVALID,
	output logic in0_V_TREADY,

	output logic [BITS-1:0] out0_V_TDATA,
	output logic out0_V_TVALID,
	input  logic out0_V_TREADY
);
	localparam int unsigned PART = B*CF;        // words of a block's row
	localparam int unsigned ROW = WO*PART;      // words of a row of pixels
	localparam int unsigned DEPTH = (B-1)*ROW;
	localparam int unsigned AW = $clog2(DEPTH);
	localparam int unsigned KW = (PART > 1)? $clog2(PART) : 1;
	localparam int unsigned IW = (B > 1)? $clog2(B) : 1;
	localparam int unsigned XW = (WO > 1)? $clog2(WO) : 1;

	(* ram_style = RAM_STYLE *) logic [W-1:0] mem[DEPTH];

	// `fill`: the upper rows come. Then for each block, `past` is low while they are read and high while its last row comes
	logic fill, past;
	logic [AW-1:0] waddr, raddr, block; // next word to write, to read, the block's first
	logic [KW-1:0] k;
	logic [IW-1:0] i;
	logic [XW-1:0] x;
	wire k_last = k == KW'(PART-1);
	wire x_last = x == XW'(WO-1);

	logic ready;
	assign in0_V_TREADY = fill || (past && ready);
	wire take = in0_V_TVALID && in0_V_TREADY;
	wire read = !fill && !past && ready;
	wire enter = read || (take && past);
	wire [AW-1:0] block_next = x_last? '0 : block + AW'(PART);
	always_ff @(posedge ap_clk) begin
		if(fill && take) mem[waddr] <= in0_V_TDATA[W-1:0];
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			fill <= 1'b1;
			past <= 1'b0;
			waddr <= '0;
			raddr <= '0;
			block <= '0;
			k <= '0;
			i <= '0;
			x <= '0;
		end
		else begin
			if(fill && take) begin
				waddr <= (waddr == AW'(DEPTH-1))? '0 : waddr + 1'b1;
				fill <= waddr != AW'(DEPTH-1);
			end
			if(enter) begin
				k <= k_last? '0 : k + 1'b1;
				if(read) raddr <= raddr + (k_last? AW'(ROW-PART+1) : AW'(1));
				if(k_last) begin
					i <= past? '0 : i + 1'b1;
					past <= i == IW'(B-2);
					if(past) begin
						block <= block_next;
						raddr <= block_next;
						x <= x_last? '0 : x + 1'b1;
						fill <= x_last;
					end
				end
			end
		end
	end

	// Two registers behind the memory, as block RAM has the first
	logic [W-1:0] data1, past1, data2;
	logic [1:0] valid;
	logic pass1;
	always_ff @(posedge ap_clk) begin
		if(read) data1 <= mem[raddr];
		past1 <= in0_V_TDATA[W-1:0];
		pass1 <= past;
		data2 <= pass1? past1 : data1;
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) valid <= 2'b00;
		else valid <= {valid[0], enter};
	end

	logic [W-1:0] q;
	assign out0_V_TDATA = BITS'(q);
	output_queue #(.W(W), .DEPTH(16)) queue (
		.ap_clk, .ap_rst_n,
		.ready, .enter, .push(valid[1]), .push_tdata(data2),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial if(W == 0 || CF == 0 || B < 2 || WO == 0) $error("space_to_depth: W, CF and WO must be at least 1, B at least 2");
`endif
endmodule
