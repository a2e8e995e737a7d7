// A frame without its border: of ROWS x COLUMNS pixels, BORDER rows and columns on each side end here, the others go on.
module trim_border #(
	int unsigned W = 8,       // bits of a word
	int unsigned CF = 1,      // words a pixel
	int unsigned ROWS = 8,    // of the frame that comes in
	int unsigned COLUMNS = 8,
	int unsigned BORDER = 1,

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
	localparam int unsigned CW = (CF > 1)? $clog2(CF) : 1;
	localparam int unsigned XW = $clog2(COLUMNS);
	localparam int unsigned YW = $clog2(ROWS);

	// Where in the frame, and whether the word's row and column go on
	logic [CW-1:0] c;
	logic [XW-1:0] x;
	logic [YW-1:0] y;
	logic row_stays, column_stays;
	wire take = in0_V_TVALID && in0_V_TREADY;
	wire c_last = c == CW'(CF-1);
	wire x_last = x == XW'(COLUMNS-1);
	wire y_last = y == YW'(ROWS-1);
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			c <= '0;
			x <= '0;
			y <= '0;
			row_stays <= 1'b0;
			column_stays <= 1'b0;
		end
		else if(take) begin
			c <= c_last? '0 : c + 1'b1;
			if(c_last) begin
				x <= x_last? '0 : x + 1'b1;
				if(x == XW'(BORDER-1)) column_stays <= 1'b1;
				if(x == XW'(COLUMNS-BORDER-1)) column_stays <= 1'b0;
				if(x_last) begin
					y <= y_last? '0 : y + 1'b1;
					if(y == YW'(BORDER-1)) row_stays <= 1'b1;
					if(y == YW'(ROWS-BORDER-1)) row_stays <= 1'b0;
				end
			end
		end
	end

	wire enter = take && row_stays && column_stays;
	logic push;
	logic [W-1:0] word;
	always_ff @(posedge ap_clk) begin
		word <= in0_V_TDATA[W-1:0];
		push <= ap_rst_n && enter;
	end

	logic [W-1:0] q;
	assign out0_V_TDATA = BITS'(q);
	output_queue #(.W(W), .DEPTH(16)) queue (
		.ap_clk, .ap_rst_n,
		.ready(in0_V_TREADY), .enter, .push, .push_tdata(word),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial if(BORDER == 0 || ROWS <= 2*BORDER || COLUMNS <= 2*BORDER)
		$error("trim_border: a border of %0d in a frame of %0d rows and %0d columns", BORDER, ROWS, COLUMNS);
`endif
endmodule
