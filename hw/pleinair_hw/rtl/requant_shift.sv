// Requantisation: y = clamp(round_half_even((x + bias[c]) / 2**shift[c])) for each channel c; PE lanes, one word a cycle.
//
// A lane of PARAMS is {shift - SMIN [SW bits], bias + half [BW bits, signed]}; PARAMS[0][0] is channel 0, half is
// 2**(shift-1), or 0 for shift 0. Rounding half up is then a plain shift; at a tie, when all bits shifted out are zero,
// clearing the result's lowest bit makes it half to even. SW = 0 where all channels have the shift SMIN.
//
// Stages: parameters read | sum | two bits of the shift each, the greatest first | clamp. Of the sum only the bits that can
// reach the output are shifted; what leaves this window is remembered: below whether any bit was set, above whether
// any was and whether all were.
module requant_shift #(
	int unsigned PE = 1,   // lanes
	int unsigned CF = 1,   // words a pixel: channels / PE
	int unsigned IW = 16,  // bits of an input
	int unsigned BW = 16,  // bits of bias + half
	int unsigned SW = 1,   // bits of shift - SMIN, 0..6
	int unsigned SMIN = 0, // the least shift
	int unsigned OW = 8,   // bits of an output
	bit IN_SIGNED = 1,
	bit OUT_SIGNED = 0,
	logic [CF-1:0][PE-1:0][SW+BW-1:0] PARAMS = '0,

	localparam int unsigned IN_BITS = (PE*IW+7)/8*8,
	localparam int unsigned OUT_BITS = (PE*OW+7)/8*8
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
	localparam int unsigned XW = IN_SIGNED? IW : IW + 1;           // an input as a signed number
	localparam int unsigned UW = ((XW > BW)? XW : BW) + 1;         // the sum
	localparam int unsigned NW = OW + (1 << SW) - 1;               // the window: every bit that may reach the output
	localparam int unsigned EW = ((UW > SMIN+NW)? UW : SMIN+NW) + 1; // the sum, extended past the window
	localparam int unsigned LW = SW + BW;
	localparam int unsigned STEPS = (SW > 2)? (SW+1)/2 : 1;
	localparam int unsigned STAGES = 3 + STEPS;
	localparam int unsigned CW = (CF > 1)? $clog2(CF) : 1;

	function automatic logic [NW-1:0] low_ones(input int unsigned n);
		for(int unsigned i = 0; i < NW; i++) low_ones[i] = i < n;
	endfunction

	// Parameters: one word a cycle, a pixel's words in turn
	logic [PE*LW-1:0] rom[CF];
	initial for(int unsigned i = 0; i < CF; i++) rom[i] = PARAMS[i];

	wire enter = in0_V_TVALID && in0_V_TREADY;
	logic [STAGES-1:0] valid;
	logic [CW-1:0] word;
	logic [PE*LW-1:0] param;
	logic [PE*IW-1:0] x;
	always_ff @(posedge ap_clk) begin
		param <= rom[word];
		x <= in0_V_TDATA[PE*IW-1:0];
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			valid <= '0;
			word <= '0;
		end
		else begin
			valid <= {valid[STAGES-2:0], enter};
			if(enter) word <= (word == CW'(CF-1))? '0 : word + 1'b1;
		end
	end

	logic [PE*OW-1:0] y;
	for(genvar lane = 0; lane < PE; lane++) begin : lanes
		// Sum
		wire [IW-1:0] value = x[lane*IW+:IW];
		wire [BW-1:0] bias = param[lane*LW+:BW];
		wire value_sign = IN_SIGNED && value[IW-1];
		wire [2*STEPS-1:0] shift; // less SMIN
		if(SW > 0) begin : some_shift
			assign shift = (2*STEPS)'(param[lane*LW+BW+:SW]);
		end
		else begin : one_shift
			assign shift = '0;
		end

		logic [UW-1:0] sum;
		logic [2*STEPS-1:0] sum_shift;
		always_ff @(posedge ap_clk) begin
			sum <= {{(UW-IW){value_sign}}, value} + {{(UW-BW){bias[BW-1]}}, bias};
			sum_shift <= shift;
		end
		wire [EW-1:0] extended = {{(EW-UW){sum[UW-1]}}, sum};

		// Shift: state after each of the steps
		logic [NW-1:0] window[STEPS];
		logic [2*STEPS-1:0] left[STEPS];
		logic [STEPS-1:0] negative, moved, low_any, high_any, high_all;
		for(genvar s = 0; s < STEPS; s++) begin : steps
			logic [NW-1:0] w;
			logic [2*STEPS-1:0] sh;
			logic neg, mov, low, any, all;
			if(s == 0) begin : first
				assign w = extended[SMIN+:NW];
				assign sh = sum_shift;
				assign neg = sum[UW-1];
				assign mov = (SMIN > 0) || (|sum_shift);
				if(SMIN > 0) begin : some_dropped
					assign low = |(extended[SMIN-1:0]);
				end
				else begin : none_dropped
					assign low = 1'b0;
				end
				assign any = |(extended[EW-1:SMIN+NW]);
				assign all = &(extended[EW-1:SMIN+NW]);
			end
			else begin : later
				assign w = window[s-1];
				assign sh = left[s-1];
				assign neg = negative[s-1];
				assign mov = moved[s-1];
				assign low = low_any[s-1];
				assign any = high_any[s-1];
				assign all = high_all[s-1];
			end

			// Two shifts, by 2K and by K; each leaves the window as many bits narrower.
			localparam int unsigned B = 2*(STEPS-1-s);
			localparam int unsigned K = 1 << B;
			localparam logic [NW-1:0] KEEP1 = low_ones(OW + 2*K - 1); // the window after the first shift
			localparam logic [NW-1:0] KEEP2 = low_ones(OW + K - 1);   // and after the second
			localparam logic [NW-1:0] LOW1 = low_ones(2*K);
			localparam logic [NW-1:0] LOW2 = low_ones(K);
			localparam logic [NW-1:0] HIGH1 = low_ones(OW + 4*K - 1) & ~KEEP1;
			localparam logic [NW-1:0] HIGH2 = KEEP1 & ~KEEP2;
			wire [NW+2*K-1:0] w_moved = {{(2*K){1'b0}}, w} >> (2*K);
			wire [NW-1:0] w1 = (sh[B+1]? w_moved[NW-1:0] : w) & KEEP1;
			wire [NW+K-1:0] w1_moved = {{K{1'b0}}, w1} >> K;
			wire [NW-1:0] w2 = (sh[B]? w1_moved[NW-1:0] : w1) & KEEP2;
			always_ff @(posedge ap_clk) begin
				window[s] <= w2;
				left[s] <= sh;
				negative[s] <= neg;
				moved[s] <= mov;
				low_any[s] <= low || (sh[B+1] && |(w & LOW1)) || (sh[B] && |(w1 & LOW2));
				high_any[s] <= any || (!sh[B+1] && |(w & HIGH1)) || (!sh[B] && |(w1 & HIGH2));
				high_all[s] <= all && (sh[B+1] || &(w | ~HIGH1)) && (sh[B] || &(w1 | ~HIGH2));
			end
		end

		// Clamp
		wire [OW-1:0] rounded = window[STEPS-1][OW-1:0] & ~OW'(moved[STEPS-1] && !low_any[STEPS-1]);
		if(OUT_SIGNED) begin : signed_output
			wire over = !negative[STEPS-1] && (high_any[STEPS-1] || rounded[OW-1]);
			wire under = negative[STEPS-1] && !(high_all[STEPS-1] && rounded[OW-1]);
			always_ff @(posedge ap_clk)
				y[lane*OW+:OW] <= over? {1'b0, {(OW-1){1'b1}}} : under? {1'b1, {(OW-1){1'b0}}} : rounded;
		end
		else begin : unsigned_output
			always_ff @(posedge ap_clk)
				y[lane*OW+:OW] <= negative[STEPS-1]? '0 : high_any[STEPS-1]? '1 : rounded;
		end
	end

	logic [PE*OW-1:0] q;
	assign out0_V_TDATA = OUT_BITS'(q);
	output_queue #(.W(PE*OW), .DEPTH(16)) queue (
		.ap_clk, .ap_rst_n,
		.ready(in0_V_TREADY), .enter, .push(valid[STAGES-1]), .push_tdata(y),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial begin
		if(PE == 0 || CF == 0) $error("requant_shift: PE and CF must be at least 1");
		if(IW < 2 || IW > 48) $error("requant_shift: IW is %0d, not 2..48", IW);
		if(BW < 2 || BW > 50) $error("requant_shift: BW is %0d, not 2..50", BW);
		if(SW > 6 || SMIN + (1 << SW) > 64) $error("requant_shift: shifts up to %0d, not 63", SMIN + (1 << SW) - 1);
		if(OW < 2 || OW > 32) $error("requant_shift: OW is %0d, not 2..32", OW);
	end
`endif
endmodule
