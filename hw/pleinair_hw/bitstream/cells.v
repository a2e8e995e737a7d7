// One table of a slice as a memory or a shift register, as it stands in the chip: what the netlists that pleinair reads
// out of bitstreams need besides Yosys's library of cells.

// 64 words of a bit. In a memory of 128 or 256 words the write address's upper bits choose among tables; this one is
// written where they are UPPER. O5 reads the lower half.
module pleinair_ram64 #(parameter [63:0] INIT = 0, parameter [1:0] WIDE = 0, UPPER = 0) (
	input [5:0] ra, input [7:0] wa, input di, clk, we, output o6, o5
);
	reg [63:0] memory = INIT;
	assign o6 = memory[ra], o5 = memory[{1'b0, ra[4:0]}];
	always @(posedge clk) if (we && ((wa[7:6] ^ UPPER) & WIDE) == 0) memory[wa[5:0]] <= di;
endmodule

// Two memories of 32 words: O5 reads the lower one, which di1 writes, O6 the upper one, which di2 writes.
module pleinair_ram32 #(parameter [63:0] INIT = 0) (
	input [4:0] ra, wa, input di1, di2, clk, we, output o6, o5
);
	reg [31:0] lower = INIT[31:0], upper = INIT[63:32];
	assign o5 = lower[ra], o6 = upper[ra];
	always @(posedge clk) if (we) begin
		lower[wa] <= di1;
		upper[wa] <= di2;
	end
endmodule

// A shift register of 32 bits; its table holds each bit twice.
module pleinair_srl32 #(parameter [63:0] INIT = 0) (input [4:0] a, input di, clk, we, output o6, mc31);
	reg [31:0] bits;
	integer i;
	initial for (i = 0; i < 32; i = i + 1) bits[i] = INIT[2 * i];
	assign o6 = bits[a], mc31 = bits[31];
	always @(posedge clk) if (we) bits <= {bits[30:0], di};
endmodule

// Two shift registers of 16 bits: O5 reads the lower one, which di1 fills, O6 the upper one, which di2 fills.
module pleinair_srl16 #(parameter [63:0] INIT = 0) (
	input [3:0] a, input di1, di2, clk, we, output o6, o5, mc31
);
	reg [15:0] lower, upper;
	integer i;
	initial for (i = 0; i < 16; i = i + 1) begin
		lower[i] = INIT[2 * i];
		upper[i] = INIT[32 + 2 * i];
	end
	assign o5 = lower[a], o6 = upper[a], mc31 = upper[15];
	always @(posedge clk) if (we) begin
		lower <= {lower[14:0], di1};
		upper <= {upper[14:0], di2};
	end
endmodule

// Half of a block RAM: 1,024 rows of 16 bits and 2 parity bits, two ports. A width is 1, 2, 4, 9, 18 or 36 with parity;
// with 36, port A reads both ports' outputs and port B writes both ports' inputs. A port that writes shows what it wrote
// (MODE 0), what was there (1), or keeps its output (2). we has a bit a byte.
module pleinair_ram18 #(
	parameter [16383:0] INIT = 0, parameter [2047:0] INITP = 0,
	parameter integer READ_A = 1, READ_B = 1, WRITE_A = 1, WRITE_B = 1, MODE_A = 0, MODE_B = 0, REG_A = 0, REG_B = 0,
	parameter [17:0] FIRST_A = 0, FIRST_B = 0, RESET_A = 0, RESET_B = 0
) (
	input [13:0] addr_a, addr_b, input [15:0] di_a, di_b, input [1:0] dip_a, dip_b, input [1:0] we_a, input [3:0] we_b,
	input clk_a, clk_b, en_a, en_b, rst_a, rst_b, rstreg_a, rstreg_b, regce_a, regce_b,
	output [15:0] do_a, do_b, output [1:0] dop_a, dop_b
);
	reg [15:0] rows [0:1023];
	reg [1:0] parities [0:1023];
	integer i;
	initial for (i = 0; i < 1024; i = i + 1) begin
		rows[i] = INIT[16 * i +: 16];
		parities[i] = INITP[2 * i +: 2];
	end
	// Ports as 4 parity bits above 32 bits; what is above a port's width is 0.
	reg [35:0] latch_a, held_a;
	reg [17:0] latch_b, held_b;
	localparam DOUBLE = READ_A == 36;
	initial begin
		latch_a = DOUBLE ? {FIRST_B[17:16], FIRST_A[17:16], FIRST_B[15:0], FIRST_A[15:0]} : {2'd0, FIRST_A[17:16], 16'd0, FIRST_A[15:0]};
		latch_b = FIRST_B;
		held_a = latch_a;
		held_b = latch_b;
	end
	wire [35:0] reset_a = DOUBLE ? {RESET_B[17:16], RESET_A[17:16], RESET_B[15:0], RESET_A[15:0]} :
		{2'd0, RESET_A[17:16], 16'd0, RESET_A[15:0]};
	function [35:0] narrow(input integer width, input [3:0] at, input [35:0] word);
		case (width)
			1: narrow = word[at];
			2: narrow = word[{at[3:1], 1'b0} +: 2];
			4: narrow = word[{at[3:2], 2'b0} +: 4];
			9: narrow = {3'd0, word[at[3] ? 33 : 32], 24'd0, word[{at[3], 3'b0} +: 8]};
			18: narrow = {2'd0, word[33:32], 16'd0, word[15:0]};
			default: narrow = word;
		endcase
	endfunction
	// A row, as the lower half of a word, with a port's input put in.
	function [17:0] put(input integer width, input [3:0] at, input [1:0] we, input [17:0] row, input [17:0] in);
		begin
			put = row;
			case (width)
				1: if (we[0]) put[at] = in[0];
				2: if (we[0]) put[{at[3:1], 1'b0} +: 2] = in[1:0];
				4: if (we[0]) put[{at[3:2], 2'b0} +: 4] = in[3:0];
				9: if (we[0]) begin
					put[{at[3], 3'b0} +: 8] = in[7:0];
					if (at[3]) put[17] = in[16]; else put[16] = in[16];
				end
				default: begin
					if (we[0]) begin put[7:0] = in[7:0]; put[16] = in[16]; end
					if (we[1]) begin put[15:8] = in[15:8]; put[17] = in[17]; end
				end
			endcase
		end
	endfunction
	wire [9:0] row_a = addr_a[13:4], row_b = addr_b[13:4], even_a = {addr_a[13:5], 1'b0}, even_b = {addr_b[13:5], 1'b0};
	wire [35:0] there_a = DOUBLE ? {parities[even_a | 10'd1], parities[even_a], rows[even_a | 10'd1], rows[even_a]} :
		{2'd0, parities[row_a], 16'd0, rows[row_a]};
	wire [35:0] there_b = {2'd0, parities[row_b], 16'd0, rows[row_b]};
	wire [17:0] next_a = put(WRITE_A, addr_a[3:0], we_a, {parities[row_a], rows[row_a]}, {dip_a, di_a});
	wire [17:0] next_b = put(WRITE_B, addr_b[3:0], we_b[1:0], {parities[row_b], rows[row_b]}, {dip_b, di_b});
	wire writes_a = |we_a, writes_b = |we_b[1:0];
	wire [35:0] fresh_a = {2'd0, next_a[17:16], 16'd0, next_a[15:0]}, fresh_b = {2'd0, next_b[17:16], 16'd0, next_b[15:0]};
	always @(posedge clk_a) begin
		if (regce_a) held_a <= latch_a;
		if (rstreg_a) held_a <= reset_a;
		if (en_a) begin
			if (writes_a) {parities[row_a], rows[row_a]} <= next_a;
			if (rst_a) latch_a <= reset_a;
			else if (!writes_a || MODE_A == 1) latch_a <= narrow(READ_A, addr_a[3:0], there_a);
			else if (MODE_A == 0) latch_a <= narrow(READ_A, addr_a[3:0], fresh_a);
		end
	end
	always @(posedge clk_b) begin
		if (regce_b) held_b <= latch_b;
		if (rstreg_b) held_b <= RESET_B;
		if (en_b && WRITE_B == 36) begin
			if (we_b[0]) begin rows[even_b][7:0] <= di_a[7:0]; parities[even_b][0] <= dip_a[0]; end
			if (we_b[1]) begin rows[even_b][15:8] <= di_a[15:8]; parities[even_b][1] <= dip_a[1]; end
			if (we_b[2]) begin rows[even_b | 10'd1][7:0] <= di_b[7:0]; parities[even_b | 10'd1][0] <= dip_b[0]; end
			if (we_b[3]) begin rows[even_b | 10'd1][15:8] <= di_b[15:8]; parities[even_b | 10'd1][1] <= dip_b[1]; end
		end else if (en_b) begin
			if (writes_b) {parities[row_b], rows[row_b]} <= next_b;
			if (rst_b) latch_b <= RESET_B;
			else if (!writes_b || MODE_B == 1) latch_b <= flat(narrow(READ_B, addr_b[3:0], there_b));
			else if (MODE_B == 0) latch_b <= flat(narrow(READ_B, addr_b[3:0], fresh_b));
		end
	end
	function [17:0] flat(input [35:0] word);
		flat = {word[33:32], word[15:0]};
	endfunction
	wire [35:0] out_a = REG_A ? held_a : latch_a;
	wire [17:0] out_b = REG_B ? held_b : latch_b;
	assign do_a = out_a[15:0], dop_a = out_a[33:32];
	assign do_b = DOUBLE ? out_a[31:16] : out_b[15:0], dop_b = DOUBLE ? out_a[35:34] : out_b[17:16];
endmodule
