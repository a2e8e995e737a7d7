// Nearest-neighbour upsampling by 2: every pixel becomes 2 x 2 equal ones. NHWC stream, CF words a pixel.
//
// A ring of two input rows: while one is read twice, each pixel twice in a row, the next is written. A word may be read as
// soon as it is written and its place is free once it has been read for the fourth time, so the output keeps one word a
// cycle when the input keeps a quarter of that. Rows are alike, so the image's height is no parameter.
module upsample #(
	int unsigned W = 8,   // bits of a word
	int unsigned WI = 4,  // input pixels a row
	int unsigned CF = 1,  // words a pixel
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
	localparam int unsigned DEPTH = 2*WI*CF;
	localparam int unsigned AW = $clog2(DEPTH);
	localparam int unsigned LW = $clog2(DEPTH+1);
	localparam int unsigned CW = (CF > 1)? $clog2(CF) : 1;
	localparam int unsigned XW = (WI > 1)? $clog2(WI) : 1;

	(* ram_style = RAM_STYLE *) logic [W-1:0] mem[DEPTH];

	// Write
	logic [AW-1:0] waddr;
	wire write = in0_V_TVALID && in0_V_TREADY;
	always_ff @(posedge ap_clk) begin
		if(write) mem[waddr] <= in0_V_TDATA[W-1:0];
	end

	// Read: `copy` is the pixel's second copy, `again` the row's
	logic [AW-1:0] raddr, pixel, row; // next word, its pixel's first, its row's first
	logic [CW-1:0] c;
	logic [XW-1:0] x;
	logic copy, again;
	wire c_last = c == CW'(CF-1);
	wire x_last = x == XW'(WI-1);

	logic [LW-1:0] stored, unread;
	logic some_unread;
	logic ready;
	wire fresh = !copy && !again;
	wire read = ready && (!fresh || some_unread);
	wire release_word = read && copy && again;
	wire [LW-1:0] stored_next = stored + LW'(write) - LW'(release_word);
	wire [LW-1:0] unread_next = unread + LW'(write) - LW'(read && fresh);

	wire [AW-1:0] raddr_inc = (raddr == AW'(DEPTH-1))? '0 : raddr + 1'b1;
	wire [AW-1:0] pixel_next = (x_last && !again)? row : raddr_inc;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			in0_V_TREADY <= 1'b0;
			waddr <= '0;
			stored <= '0;
			unread <= '0;
			some_unread <= 1'b0;
			raddr <= '0;
			pixel <= '0;
			row <= '0;
			c <= '0;
			x <= '0;
			copy <= 1'b0;
			again <= 1'b0;
		end
		else begin
			if(write) waddr <= (waddr == AW'(DEPTH-1))? '0 : waddr + 1'b1;
			stored <= stored_next;
			unread <= unread_next;
			in0_V_TREADY <= stored_next != LW'(DEPTH);
			some_unread <= unread_next != '0;
			if(read) begin
				c <= c_last? '0 : c + 1'b1;
				raddr <= !c_last? raddr_inc : !copy? pixel : pixel_next;
				if(c_last) begin
					copy <= !copy;
					if(copy) begin
						pixel <= pixel_next;
						x <= x_last? '0 : x + 1'b1;
						if(x_last) begin
							again <= !again;
							if(again) row <= raddr_inc;
						end
					end
				end
			end
		end
	end

	// Two registers behind the memory, as block RAM has them
	logic [W-1:0] data1, data2;
	logic [1:0] valid;
	always_ff @(posedge ap_clk) begin
		if(read) data1 <= mem[raddr];
		data2 <= data1;
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) valid <= '0;
		else valid <= {valid[0], read};
	end

	logic [W-1:0] q;
	assign out0_V_TDATA = BITS'(q);
	output_queue #(.W(W), .DEPTH(16)) queue (
		.ap_clk, .ap_rst_n,
		.ready, .enter(read), .push(valid[1]), .push_tdata(data2),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial if(W == 0 || WI == 0 || CF == 0) $error("upsample: W, WI and CF must be at least 1");
`endif
endmodule
