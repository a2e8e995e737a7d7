// Cells of nextpnr's that no library of Yosys' has: one table of a distributed memory.
module RAMD64E #(parameter [63:0] INIT = 0, parameter DEEP = 0, HALF = 0) (
	input RADR0, RADR1, RADR2, RADR3, RADR4, RADR5, input WADR0, WADR1, WADR2, WADR3, WADR4, WADR5, WADR6, WADR7,
	input I, CLK, WE, output O
);
	// In a memory of 128 words WADR6 chooses between two tables: B and D hold the lower half, A and C the upper one.
	reg [63:0] memory = INIT;
	assign O = memory[{RADR5, RADR4, RADR3, RADR2, RADR1, RADR0}];
	always @(posedge CLK)
		if (WE && (!DEEP || WADR6 == HALF)) memory[{WADR5, WADR4, WADR3, WADR2, WADR1, WADR0}] <= I;
endmodule

module RAMD32 #(parameter [31:0] INIT = 0) (
	input RADR0, RADR1, RADR2, RADR3, RADR4, input WADR0, WADR1, WADR2, WADR3, WADR4, input I, CLK, WE, output O
);
	reg [31:0] memory = INIT;
	assign O = memory[{RADR4, RADR3, RADR2, RADR1, RADR0}];
	always @(posedge CLK) if (WE) memory[{WADR4, WADR3, WADR2, WADR1, WADR0}] <= I;
endmodule
