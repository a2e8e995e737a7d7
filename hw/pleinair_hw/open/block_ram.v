// The body that Yosys' RAMB18E1 and RAMB36E1 lack (gates.py puts it there): a block RAM of BYTES bytes and as many parity
// bits, with two ports that are HALF bits wide, or as wide together where a width is twice as much (with parity 36 of 18).
// After UG473. A port that writes shows what it wrote, what was there, or keeps its output; what one port reads while the other
// writes it is what was there. Cascades, error correction and inverted pins are not modelled.
module pleinair_block_ram #(
	parameter integer BYTES = 2048, HALF = 16, ADDRESS = 14,
	parameter [8*BYTES-1:0] INIT = 0,
	parameter [BYTES-1:0] INITP = 0,
	parameter integer READ_A = 0, READ_B = 0, WRITE_A = 0, WRITE_B = 0, // widths with parity; 0: unused
	parameter MODE_A = "WRITE_FIRST", MODE_B = "WRITE_FIRST",
	parameter integer REG_A = 0, REG_B = 0,
	parameter [9*HALF/8-1:0] FIRST_A = 0, FIRST_B = 0, RESET_A = 0, RESET_B = 0
) (
	input clk_a, clk_b, en_a, en_b, regce_a, regce_b, rst_a, rst_b, rstreg_a, rstreg_b,
	input [ADDRESS-1:0] addr_a, addr_b,
	input [HALF-1:0] di_a, di_b, input [HALF/8-1:0] dip_a, dip_b,
	input [HALF/8-1:0] we_a, input [HALF/4-1:0] we_b,
	output [HALF-1:0] do_a, do_b, output [HALF/8-1:0] dop_a, dop_b
);
	localparam integer P = HALF / 8;
	reg [7:0] data [0:BYTES-1];
	reg parity [0:BYTES-1];
	integer i;
	initial for (i = 0; i < BYTES; i = i + 1) begin
		data[i] = INIT[8 * i +: 8];
		parity[i] = INITP[i];
	end

	// Data bits of a width with parity
	function integer bits(input integer width);
		bits = width >= 9 ? width / 9 * 8 : width;
	endfunction
	// The byte where a port's word begins
	function integer base(input integer width, input [ADDRESS-1:0] address);
		base = bits(width) >= 8 ? address / bits(width) * (bits(width) / 8) : address / 8;
	endfunction

	// What a port reads: parity above both ports' data
	function [18*P-1:0] there(input integer width, input [ADDRESS-1:0] address);
		integer k;
		begin
			there = 0;
			if (bits(width) >= 8)
				for (k = 0; k < bits(width) / 8; k = k + 1) begin
					there[8 * k +: 8] = data[base(width, address) + k];
					there[16 * P + k] = parity[base(width, address) + k];
				end
			else
				for (k = 0; k < bits(width); k = k + 1)
					there[k] = data[address / 8][(address % 8) / bits(width) * bits(width) + k];
		end
	endfunction
	// The same with what is written put in
	function [18*P-1:0] with_input(
		input integer width, input [18*P-1:0] old, input [18*P-1:0] given, input [2*P-1:0] we
	);
		integer k;
		begin
			with_input = old;
			if (bits(width) < 8) begin
				for (k = 0; k < bits(width); k = k + 1)
					if (we[0]) with_input[k] = given[k];
			end else
				for (k = 0; k < bits(width) / 8; k = k + 1)
					if (we[k]) begin
						with_input[8 * k +: 8] = given[8 * k +: 8];
						with_input[16 * P + k] = given[16 * P + k];
					end
		end
	endfunction

	wire double_read = bits(READ_A) > HALF, double_write = bits(WRITE_B) > HALF;
	wire [18*P-1:0] given_a = {{P{1'b0}}, dip_a, {HALF{1'b0}}, di_a};
	wire [18*P-1:0] given_b = double_write ? {dip_b, dip_a, di_b, di_a} : {{P{1'b0}}, dip_b, {HALF{1'b0}}, di_b};
	reg [18*P-1:0] latch_a, held_a, latch_b, held_b;
	// With a double read port A's numbers are the lower half, port B's the upper one
	function [18*P-1:0] both(input [9*P-1:0] a, input [9*P-1:0] b);
		both = {bits(READ_A) > HALF ? b[HALF +: P] : {P{1'b0}}, a[HALF +: P],
			bits(READ_A) > HALF ? b[HALF-1:0] : {HALF{1'b0}}, a[HALF-1:0]};
	endfunction
	wire [18*P-1:0] reset_a = both(RESET_A, RESET_B), reset_b = {{P{1'b0}}, RESET_B[HALF +: P], {HALF{1'b0}}, RESET_B[HALF-1:0]};
	initial begin
		latch_a = both(FIRST_A, FIRST_B);
		latch_b = {{P{1'b0}}, FIRST_B[HALF +: P], {HALF{1'b0}}, FIRST_B[HALF-1:0]};
		held_a = latch_a;
		held_b = latch_b;
	end

	// The upper half of port B's enables counts in its double width alone.
	wire writes_b = double_write ? |we_b : |we_b[P-1:0];
	// Byte by byte, so that both ports may write in one cycle.
	always @(posedge clk_a) begin : port_a
		integer k;
		if (regce_a) held_a <= latch_a;
		if (rstreg_a) held_a <= reset_a;
		if (en_a) begin
			if (WRITE_A != 0 && |we_a) begin
				if (bits(WRITE_A) >= 8) begin
					for (k = 0; k < bits(WRITE_A) / 8; k = k + 1)
						if (we_a[k]) begin
							data[base(WRITE_A, addr_a) + k] <= di_a[8 * k +: 8];
							parity[base(WRITE_A, addr_a) + k] <= dip_a[k];
						end
				end else if (we_a[0])
					for (k = 0; k < bits(WRITE_A); k = k + 1)
						data[addr_a / 8][(addr_a % 8) / bits(WRITE_A) * bits(WRITE_A) + k] <= di_a[k];
			end
			if (rst_a) latch_a <= reset_a;
			else if (READ_A != 0 && (WRITE_A == 0 || ~|we_a || MODE_A == "READ_FIRST")) latch_a <= there(READ_A, addr_a);
			else if (READ_A != 0 && MODE_A == "WRITE_FIRST")
				latch_a <= with_input(READ_A, there(READ_A, addr_a), given_a, {{P{1'b0}}, we_a});
		end
	end
	always @(posedge clk_b) begin : port_b
		integer k;
		if (regce_b) held_b <= latch_b;
		if (rstreg_b) held_b <= reset_b;
		if (en_b) begin
			if (WRITE_B != 0 && writes_b) begin
				if (bits(WRITE_B) >= 8) begin
					for (k = 0; k < bits(WRITE_B) / 8; k = k + 1)
						if (we_b[k]) begin
							data[base(WRITE_B, addr_b) + k] <= given_b[8 * k +: 8];
							parity[base(WRITE_B, addr_b) + k] <= given_b[16 * P + k];
						end
				end else if (we_b[0])
					for (k = 0; k < bits(WRITE_B); k = k + 1)
						data[addr_b / 8][(addr_b % 8) / bits(WRITE_B) * bits(WRITE_B) + k] <= given_b[k];
			end
			if (rst_b) latch_b <= reset_b;
			else if (READ_B != 0 && (WRITE_B == 0 || !writes_b || MODE_B == "READ_FIRST")) latch_b <= there(READ_B, addr_b);
			else if (READ_B != 0 && MODE_B == "WRITE_FIRST")
				latch_b <= with_input(READ_B, there(READ_B, addr_b), given_b, we_b);
		end
	end

	wire [18*P-1:0] out_a = REG_A != 0 ? held_a : latch_a, out_b = REG_B != 0 ? held_b : latch_b;
	assign do_a = out_a[HALF-1:0], dop_a = out_a[16 * P +: P];
	assign do_b = double_read ? out_a[HALF +: HALF] : out_b[HALF-1:0];
	assign dop_b = double_read ? out_a[17 * P +: P] : out_b[16 * P +: P];
endmodule
