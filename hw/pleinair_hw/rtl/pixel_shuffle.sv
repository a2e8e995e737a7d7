// Phases to pixels: four phases (a,b) = (0,0), (0,1), (1,0), (1,1) of CF words each, in raster order at twice the resolution.
//
// BORDER 1, the outputs of a 2 x 2 convolution with four phases: (HI+1) x (WI+1) windows come in, and phase (a,b) of
// window (i,j) is pixel (2i-1+a, 2j-1+b) of the 2*HI x 2*WI output; pixels outside are dropped.
// BORDER 0, depth to space: HI x WI windows come in, and phase (a,b) of window (i,j) is pixel (2i+a, 2j+b).
//
// Words of a = 0 and a = 1 go to a ring each; the output reads a row of 2*WI*CF words from one, then from the other, beginning
// with row 0, which is one of a = BORDER. No deadlock: while a row of a = 1 is awaited the other ring is empty, and while one of a = 0 is
// awaited the a = 1 ring holds at most one row, its capacity. One input word a cycle: of a = 0 half a row collects
// while the row before is read.
module pixel_shuffle #(
	int unsigned W = 8,   // bits of a word
	int unsigned CF = 1,  // words a pixel and phase
	int unsigned HI = 4,  // output rows / 2
	int unsigned WI = 4,  // output columns / 2
	bit BORDER = 1,
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
	localparam int unsigned ROW = 2*WI*CF;
	localparam int unsigned HALF = WI*CF + 2*CF + 8; // half a row, a pixel's burst, and the way to the output
	localparam int unsigned DEPTH0 = (HALF < ROW)? HALF : ROW;
	localparam int unsigned DEPTH1 = ROW;
	localparam int unsigned AW = $clog2(ROW);
	localparam int unsigned LW = $clog2(ROW+1);
	localparam int unsigned CW = (CF > 1)? $clog2(CF) : 1;
	localparam int unsigned XW = $clog2(WI+1);
	localparam int unsigned YW = $clog2(HI+1);

	(* ram_style = RAM_STYLE *) logic [W-1:0] mem0[DEPTH0];
	(* ram_style = RAM_STYLE *) logic [W-1:0] mem1[DEPTH1];

	// Input: where in the window and the image
	logic [CW-1:0] c;
	logic a, b;
	logic [XW-1:0] x;
	logic [YW-1:0] y;
	logic x_first, x_last, y_first, y_last;
	wire c_last = c == CW'(CF-1);
	wire take = in0_V_TVALID && in0_V_TREADY;
	wire kept = !BORDER || (a? !y_last : !y_first) && (b? !x_last : !x_first);
	wire [1:0] write = {take && kept && a, take && kept && !a};
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			c <= '0;
			{a, b} <= 2'b00;
			x <= '0;
			x_first <= 1'b1;
			x_last <= 1'b0;
			y <= '0;
			y_first <= 1'b1;
			y_last <= 1'b0;
		end
		else if(take) begin
			c <= c_last? '0 : c + 1'b1;
			if(c_last) begin
				{a, b} <= {a, b} + 2'b01;
				if(a && b) begin
					x <= x_last? '0 : x + 1'b1;
					x_first <= x_last;
					x_last <= x == XW'(WI-1);
					if(x_last) begin
						y <= y_last? '0 : y + 1'b1;
						y_first <= y_last;
						y_last <= y == YW'(HI-1);
					end
				end
			end
		end
	end

	// Rings
	logic [AW-1:0] waddr0, waddr1, raddr0, raddr1;
	logic [LW-1:0] stored0, stored1;
	logic [1:0] some;
	logic [1:0] read;
	// Compared before what is written and read is known, as that comes late
	wire [1:0] one = {stored1 == LW'(1), stored0 == LW'(1)};
	wire [1:0] full = {stored1 == LW'(DEPTH1), stored0 == LW'(DEPTH0)};
	wire [1:0] nearly = {stored1 == LW'(DEPTH1-1), stored0 == LW'(DEPTH0-1)};
	always_ff @(posedge ap_clk) begin
		if(write[0]) mem0[waddr0] <= in0_V_TDATA[W-1:0];
		if(write[1]) mem1[waddr1] <= in0_V_TDATA[W-1:0];
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			waddr0 <= '0;
			waddr1 <= '0;
			raddr0 <= '0;
			raddr1 <= '0;
			stored0 <= '0;
			stored1 <= '0;
			some <= 2'b00;
			in0_V_TREADY <= 1'b0;
		end
		else begin
			if(write[0]) waddr0 <= (waddr0 == AW'(DEPTH0-1))? '0 : waddr0 + 1'b1;
			if(write[1]) waddr1 <= (waddr1 == AW'(DEPTH1-1))? '0 : waddr1 + 1'b1;
			if(read[0]) raddr0 <= (raddr0 == AW'(DEPTH0-1))? '0 : raddr0 + 1'b1;
			if(read[1]) raddr1 <= (raddr1 == AW'(DEPTH1-1))? '0 : raddr1 + 1'b1;
			stored0 <= stored0 + LW'(write[0]) - LW'(read[0]);
			stored1 <= stored1 + LW'(write[1]) - LW'(read[1]);
			some <= write | (some & ~(one & read));
			in0_V_TREADY <= ~|((full | nearly & write) & ~read);
		end
	end

	// Output: a row from each ring in turn
	logic ready;
	logic row;             // the ring that is read
	logic [AW-1:0] words;  // read of this row
	assign read = {ready && row && some[1], ready && !row && some[0]};
	wire enter = |read;
	wire words_last = words == AW'(ROW-1);
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			row <= BORDER;
			words <= '0;
		end
		else if(enter) begin
			words <= words_last? '0 : words + 1'b1;
			if(words_last) row <= !row;
		end
	end

	// Two registers behind the memories, as block RAM has the first
	logic [W-1:0] data0, data1, data2;
	logic [1:0] valid;
	logic row1;
	always_ff @(posedge ap_clk) begin
		if(read[0]) data0 <= mem0[raddr0];
		if(read[1]) data1 <= mem1[raddr1];
		row1 <= row;
		data2 <= row1? data1 : data0;
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
	initial if(W == 0 || CF == 0 || HI == 0 || WI == 0) $error("pixel_shuffle: W, CF, HI and WI must be at least 1");
`endif
endmodule
