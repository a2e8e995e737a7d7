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
