// Requantisation in a light: y = clamp(round_half_even((x + bias[c]) * multiplier[c] / 2**shift[c])) for each channel c;
// PE lanes, one word a cycle. A light is the table of these three numbers, and may change from frame to frame.
//
// The table has three banks. A lane of a bank's word is {shift [SW bits], multiplier [5 bits], bias [BW bits, signed]};
// PARAMS[0][0] is channel 0 of all banks when the bitstream is loaded. Bank 2 cannot be written and is in use from a reset to
// the first light. A driver writes that of the others which is not in use, reads it back and says from which frame on it
// holds: light_station.sv has the registers, light_meter.sv sums what is metered.
//
// Stages: numbers read | sum | product, in three digits of the multiplier (-1 .. 2) | two bits of the shift each, the
// greatest first | clamp | round. The window that is shifted holds every bit that may reach the output and one below,
// which rounds; what leaves it is remembered: below whether any bit was set, above whether any was and whether all were.
module requant_light #(
	int unsigned PE = 1,      // lanes
	int unsigned CF = 1,      // words a pixel: channels / PE
	int unsigned IW = 16,     // bits of an input, signed
	int unsigned BW = 16,     // bits of a bias
	int unsigned SW = 5,      // bits of a shift, 1..6
	int unsigned SMAX = 31,   // the longest shift
	int unsigned OW = 8,      // bits of an output
	bit OUT_SIGNED = 0,
	int unsigned HEIGHT = 4,  // of a frame, in pixels
	int unsigned WIDTH = 4,
	int unsigned METER = 1,   // channels metered at a time: 0 for none, else a power of two that divides PE
	logic [CF-1:0][PE-1:0][SW+5+BW-1:0] PARAMS = '0,

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
	input  logic out0_V_TREADY,

	// From and to axilite_light.sv
	input  logic [47:0] light_request,
	output logic [33:0] light_answer
);
	localparam int unsigned UW = ((IW > BW)? IW : BW) + 1;         // the sum
	localparam int unsigned VW = UW + 5;                           // the product
	localparam int unsigned QW = (METER > 0 && OW < 8)? 8 : OW;    // bits of the result that are looked at
	localparam int unsigned RW = QW + 1;                           // and the one below
	localparam int unsigned NW = RW + SMAX;                        // the window
	localparam int unsigned EW = ((VW+1 > NW)? VW+1 : NW) + 1;     // the product, extended past the window
	localparam int unsigned STEPS = (SW > 2)? (SW+1)/2 : 1;
	localparam int unsigned SHIFTED = 4 + STEPS;                   // number of the last shift's stage, from 0
	localparam int unsigned STAGES = SHIFTED + 3;
	localparam int unsigned WW = (CF > 1)? $clog2(CF) : 1;
	localparam int unsigned LANES = (PE > 1)? $clog2(PE) : 1;
	localparam int unsigned LOW = (BW > 32)? 32 : BW;              // bits of a bias in its first word on the bus

	function automatic logic [NW-1:0] low_ones(input int unsigned n);
		for(int unsigned i = 0; i < NW; i++) low_ones[i] = i < n;
	endfunction

	// Frames, banks, registers
	logic ready, hold;
	assign in0_V_TREADY = ready && !hold;
	wire enter = in0_V_TVALID && in0_V_TREADY;
	logic [1:0] bank;              // of the word that enters
	logic spare;                   // the one that may be written, 0 or 1
	logic [WW-1:0] word, bus_word;
	logic bus_read;                // the table is read for the bus, and no word enters
	logic [2:0] bus_write;         // bias, its upper part, shift and multiplier
	logic [LANES-1:0] bus_lane;
	logic [31:0] bus_data;
	logic [31:0] bus_answer;
	logic [1:0] bus_field;
	logic [3:0] mark;              // metered, counted, first pixel, last word
	logic [9:0] sums_channel;
	logic [31:0] sums_answer;
	logic metered;
	light_station #(.PE(PE), .CF(CF), .HEIGHT(HEIGHT), .WIDTH(WIDTH), .METER(METER)) station (
		.ap_clk, .ap_rst_n, .enter, .hold, .bank, .spare, .word, .mark,
		.bus_word, .bus_read, .bus_write, .bus_lane, .bus_data, .bus_answer, .bus_field,
		.sums_channel, .sums_answer, .metered,
		.light_request, .light_answer
	);

	logic [STAGES-1:0] valid;
	logic [SHIFTED:0][3:0] marks;
	logic [PE*IW-1:0] x;
	always_ff @(posedge ap_clk) begin
		x <= in0_V_TDATA[PE*IW-1:0];
		marks <= {marks[SHIFTED-1:0], mark};
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) valid <= '0;
		else valid <= {valid[STAGES-2:0], enter};
	end

	wire [WW+1:0] write_at = {1'b0, spare, bus_word};
	wire [WW+1:0] read_at = bus_read? write_at : {bank, word};
	logic [(1 << LANES)-1:0][SW+4+BW:0] numbers; // read from the table: {shift, multiplier, bias}
	logic [PE*OW-1:0] y;
	logic [PE-1:0][10:0] level;   // to be metered: {negative, over, round up, lowest 8 bits}
	for(genvar lane = 0; lane < PE; lane++) begin : lanes
		// The table
		(* ram_style = "distributed" *) logic [LOW-1:0] bias_low[3 << WW];
		(* ram_style = "distributed" *) logic [SW+4:0] gain[3 << WW];
		initial for(int unsigned i = 0; i < 3*CF; i++) begin
			bias_low[i / CF << WW | i % CF] = PARAMS[i % CF][lane][LOW-1:0];
			gain[i / CF << WW | i % CF] = PARAMS[i % CF][lane][BW+:SW+5];
		end
		logic [BW-1:0] bias;
		logic [4:0] multiplier;
		logic [SW-1:0] shift;
		always_ff @(posedge ap_clk) begin
			if(bus_write[0] && bus_lane == LANES'(lane)) bias_low[write_at] <= bus_data[LOW-1:0];
			if(bus_write[2] && bus_lane == LANES'(lane)) gain[write_at] <= {bus_data[8+:SW], bus_data[4:0]};
			bias[LOW-1:0] <= bias_low[read_at];
			{shift, multiplier} <= gain[read_at];
		end
		assign numbers[lane] = {shift, multiplier, bias};
		if(BW > 32) begin : wide_bias
			(* ram_style = "distributed" *) logic [BW-33:0] bias_high[3 << WW];
			initial for(int unsigned i = 0; i < 3*CF; i++)
				bias_high[i / CF << WW | i % CF] = PARAMS[i % CF][lane][BW-1:32];
			always_ff @(posedge ap_clk) begin
				if(bus_write[1] && bus_lane == LANES'(lane)) bias_high[write_at] <= bus_data[BW-33:0];
				bias[BW-1:32] <= bias_high[read_at];
			end
		end

		// Sum, and the multiplier's digits: 3 is -1 and carries one to the next
		wire [IW-1:0] value = x[lane*IW+:IW];
		wire carry0 = &multiplier[1:0];
		wire [2:0] upper = 3'(multiplier[3:2]) + 3'(carry0);
		logic signed [UW-1:0] sum, sum1, sum2;
		logic [1:0] digit0, digit1, digit1_1, digit2, digit2_1, digit2_2;
		logic negative0_1, negative0_2;
		logic [SW-1:0] shift1, shift2, shift3, shift4;
		always_ff @(posedge ap_clk) begin
			sum <= {{(UW-IW){value[IW-1]}}, value} + {{(UW-BW){bias[BW-1]}}, bias};
			digit0 <= multiplier[1:0];
			digit1 <= upper[1:0];
			digit2 <= 2'(multiplier[4]) + 2'(upper > 2);
			shift1 <= shift;
		end

		// Product
		function automatic logic [UW:0] times(input logic [UW-1:0] number, input logic [1:0] digit);
			logic [UW:0] once;
			once = {number[UW-1], number};
			times = digit == 0? '0 : digit == 1? once : digit == 2? {number, 1'b0} : ~once;
		endfunction
		logic [UW:0] part0;       // sum * digit0, less one where that is negative
		logic [UW+3:0] part1;     // and sum * digit1 * 4 added
		logic [VW-1:0] product;
		wire [UW:0] times1 = times(sum1, digit1_1);
		wire [UW:0] times2 = times(sum2, digit2_2);
		wire [UW+2:0] added1 = {{3{part0[UW]}}, part0[UW:2], 1'b1} + {times1[UW], times1, digit1_1 == 3};
		wire [VW:0] added2 = {part1[UW+3], part1, 1'b1} + {times2, 4'b0, negative0_2};
		always_ff @(posedge ap_clk) begin
			part0 <= times(sum, digit0);
			negative0_1 <= digit0 == 3;
			{sum1, digit1_1, digit2_1, shift2} <= {sum, digit1, digit2, shift1};
			part1 <= {added1[UW+2:1], part0[1:0]};
			{sum2, digit2_2, negative0_2, shift3} <= {sum1, digit2_1, negative0_1, shift2};
			product <= added2[VW:1];
			shift4 <= shift3;
		end
		wire [EW-1:0] extended = {{(EW-VW-1){product[VW-1]}}, product, 1'b0};

		// Shift: state after each of the steps
		logic [NW-1:0] window[STEPS];
		logic [2*STEPS-1:0] left[STEPS];
		logic [STEPS-1:0] negative, low_any, high_any, high_all;
		for(genvar s = 0; s < STEPS; s++) begin : steps
			logic [NW-1:0] w;
			logic [2*STEPS-1:0] sh;
			logic neg, low, any, all;
			if(s == 0) begin : first
				assign w = extended[NW-1:0];
				assign sh = (2*STEPS)'(shift4);
				assign neg = product[VW-1];
				assign low = 1'b0;
				assign any = |(extended[EW-1:NW]);
				assign all = &(extended[EW-1:NW]);
			end
			else begin : later
				assign w = window[s-1];
				assign sh = left[s-1];
				assign neg = negative[s-1];
				assign low = low_any[s-1];
				assign any = high_any[s-1];
				assign all = high_all[s-1];
			end

			// Two shifts, by 2K and by K; each leaves the window as many bits narrower.
			localparam int unsigned B = 2*(STEPS-1-s);
			localparam int unsigned K = 1 << B;
			localparam logic [NW-1:0] KEEP1 = low_ones(RW + 2*K - 1); // the window after the first shift
			localparam logic [NW-1:0] KEEP2 = low_ones(RW + K - 1);   // and after the second
			localparam logic [NW-1:0] LOW1 = low_ones(2*K);
			localparam logic [NW-1:0] LOW2 = low_ones(K);
			localparam logic [NW-1:0] HIGH1 = low_ones(RW + 4*K - 1) & ~KEEP1;
			localparam logic [NW-1:0] HIGH2 = KEEP1 & ~KEEP2;
			wire fill = OUT_SIGNED && neg; // bits above the window are the sign's, or high_all knows
			wire [NW+2*K-1:0] w_moved = {{(2*K){fill}}, w} >> (2*K);
			wire [NW-1:0] w1 = (sh[B+1]? w_moved[NW-1:0] : w) & KEEP1;
			wire [NW+K-1:0] w1_moved = {{K{fill}}, w1} >> K;
			wire [NW-1:0] w2 = (sh[B]? w1_moved[NW-1:0] : w1) & KEEP2;
			always_ff @(posedge ap_clk) begin
				window[s] <= w2;
				left[s] <= sh;
				negative[s] <= neg;
				low_any[s] <= low || (sh[B+1] && |(w & LOW1)) || (sh[B] && |(w1 & LOW2));
				high_any[s] <= any || (!sh[B+1] && |(w & HIGH1)) || (!sh[B] && |(w1 & HIGH2));
				high_all[s] <= all && (sh[B+1] || &(w | ~HIGH1)) && (sh[B] || &(w1 | ~HIGH2));
			end
		end

		// Clamp, then round: a result that is clamped, or is the greatest, stays
		wire [QW-1:0] result = window[STEPS-1][QW:1];
		wire [QW:0] above = {1'b0, result};
		wire up = window[STEPS-1][0] && (low_any[STEPS-1] || result[0]);
		wire below_zero = negative[STEPS-1];
		logic [OW-1:0] clamped;
		logic round;
		if(OUT_SIGNED) begin : signed_output
			wire over = !below_zero && (high_any[STEPS-1] || |result[QW-1:OW-1]);
			wire under = below_zero && !(high_all[STEPS-1] && &result[QW-1:OW-1]);
			wire [OW-1:0] greatest = {1'b0, {(OW-1){1'b1}}};
			always_ff @(posedge ap_clk) begin
				clamped <= over? greatest : under? {1'b1, {(OW-1){1'b0}}} : result[OW-1:0];
				round <= up && !over && !under && result[OW-1:0] != greatest;
			end
		end
		else begin : unsigned_output
			wire over = !below_zero && (high_any[STEPS-1] || |above[QW:OW]);
			always_ff @(posedge ap_clk) begin
				clamped <= below_zero? '0 : over? '1 : result[OW-1:0];
				round <= up && !below_zero && !over && !(&result[OW-1:0]);
			end
		end
		always_ff @(posedge ap_clk) y[lane*OW+:OW] <= clamped + OW'(round);

		if(METER > 0) begin : metered_level
			assign level[lane] = {below_zero, high_any[STEPS-1] || |above[QW:8], up, result[7:0]};
		end
		else begin : no_level
			assign level[lane] = '0;
		end
	end

	// Of the table's word that was read, the channel's lane
	for(genvar lane = PE; lane < (1 << LANES); lane++) begin : no_lanes
		assign numbers[lane] = 'x;
	end
	wire [SW+4+BW:0] chosen = numbers[bus_lane];
	wire [63:0] chosen_bias = {{(64-BW){chosen[BW-1]}}, chosen[BW-1:0]};
	assign bus_answer = bus_field == 0? chosen_bias[31:0] : bus_field == 1? chosen_bias[63:32]
		: bus_field == 2? {{(24-SW){1'b0}}, chosen[BW+5+:SW], 3'b0, chosen[BW+:5]} : '0;

	if(METER > 0) begin : meter
		light_meter #(.PE(PE), .CF(CF), .PIXELS(HEIGHT*WIDTH), .UNITS(METER)) totals (
			.ap_clk, .ap_rst_n,
			.push(valid[SHIFTED] && marks[SHIFTED][3]), .mark(marks[SHIFTED][2:0]), .level,
			.channel(sums_channel), .field(bus_field), .answer(sums_answer), .done(metered)
		);
	end
	else begin : no_meter
		assign sums_answer = '0;
		assign metered = 1'b0;
	end

	logic [PE*OW-1:0] q;
	assign out0_V_TDATA = OUT_BITS'(q);
	output_queue #(.W(PE*OW), .DEPTH(32)) queue (
		.ap_clk, .ap_rst_n,
		.ready, .enter, .push(valid[STAGES-1]), .push_tdata(y),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial begin
		if(PE == 0 || CF == 0 || PE*CF > 1024) $error("requant_light: %0d channels, not 1..1024", PE*CF);
		if(IW < 2 || IW > 48) $error("requant_light: IW is %0d, not 2..48", IW);
		if(BW < 2 || BW > 50) $error("requant_light: BW is %0d, not 2..50", BW);
		if(SW < 1 || SW > 6 || SMAX >= (1 << SW)) $error("requant_light: shifts up to %0d in %0d bits", SMAX, SW);
		if(OW < 2 || OW > 32) $error("requant_light: OW is %0d, not 2..32", OW);
		if(METER > 0 && (PE % METER != 0 || (METER & (METER-1)) != 0))
			$error("requant_light: METER is %0d, no power of two that divides %0d lanes", METER, PE);
	end
`endif
endmodule
