// From words of A bytes to words of B bytes, the first byte at the LSB (dma_read, dma_write).
//
// `in_units` of a word that comes in count, A but at a transfer's end. Of a word that leaves `out_units` do, B unless `flush`
// says that nothing comes any more. Bytes are counted in units of UNIT, which A and B and every transfer are multiples of. It
// takes a word while it holds no more than B bytes, so that it never has to know whether one leaves in the same cycle.
module dma_gearbox #(
	int unsigned A = 8,
	int unsigned B = 3,
	int unsigned UNIT = 1,
	localparam int unsigned N = (A + B) / UNIT,
	localparam int unsigned COUNT_BITS = $clog2(N + 1)
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic [8*A-1:0] in_data,
	input  logic [COUNT_BITS-1:0] in_units,
	input  logic in_valid,
	output logic in_ready,

	input  logic flush,
	output logic [8*B-1:0] out_data,
	output logic out_valid,
	input  logic out_ready,
	output logic empty
);
	localparam int unsigned W = 8 * UNIT;
	localparam int unsigned A_UNITS = A / UNIT, B_UNITS = B / UNIT;
	logic [N-1:0][W-1:0] units;      // zero above those that it holds
	logic [COUNT_BITS-1:0] count;
	wire [A_UNITS-1:0][W-1:0] given = in_data;
	wire full = count >= COUNT_BITS'(B_UNITS);
	assign empty = count == '0;
	assign out_data = units[B_UNITS-1:0];
	assign out_valid = full || (flush && !empty);
	assign in_ready = count <= COUNT_BITS'(B_UNITS);
	wire leave = out_valid && out_ready;
	wire enter = in_valid && in_ready;

	// A word that comes in is put behind what stays. Nothing stays if one leaves in the same cycle.
	logic [B_UNITS:0] at;
	for(genvar p = 0; p <= B_UNITS; p++) begin : places
		assign at[p] = enter && (leave? p == 0 : count == COUNT_BITS'(p));
	end
	logic [N-1:0][W-1:0] next;
	for(genvar i = 0; i < N; i++) begin : bytes
		wire [W-1:0] stays;
		if(i + B_UNITS < N) assign stays = leave? units[i + B_UNITS] : units[i];
		else assign stays = leave? '0 : units[i];
		logic [W-1:0] comes;
		always_comb begin
			comes = '0;
			for(int j = 0; j < A_UNITS; j++)
				if(j <= i && i - j <= B_UNITS && at[i - j] && COUNT_BITS'(j) < in_units) comes |= given[j];
		end
		assign next[i] = stays | comes;
	end
	wire [COUNT_BITS-1:0] kept = !leave? count : full? count - COUNT_BITS'(B_UNITS) : '0;
	always_ff @(posedge ap_clk) begin
		units <= next;
		count <= enter? kept + in_units : kept;
		if(!ap_rst_n) begin
			units <= '0;
			count <= '0;
		end
	end
endmodule
