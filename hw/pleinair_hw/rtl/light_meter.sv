// What a station meters: for each channel the sums of q and of q^2 over the pixels of a frame that count.
//
// q is a level of 8 bits, clamped and rounded here. A word of PE lanes comes in, and UNITS channels are summed in a cycle:
// the next word comes no sooner, and a channel's next no sooner than 4 cycles later (light_station.sv sees to both).
// The sums of a frame's first pixel replace those of the last frame. No multiplier: a square is one of two tables of 4 bits
// and a product of 4 bits. The widths hold PIXELS greatest values.
module light_meter #(
	int unsigned PE = 1,
	int unsigned CF = 1,
	int unsigned PIXELS = 16,
	int unsigned UNITS = 1
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic push,
	input  logic [2:0] mark,  // the pixel counts, is the frame's first; the frame's last word
	input  logic [PE-1:0][10:0] level, // {negative, over, round up, lowest 8 bits}

	input  logic [9:0] channel,
	input  logic [1:0] field,
	output logic [31:0] answer,
	output logic done
);
	localparam int unsigned TURNS = PE/UNITS;
	localparam int unsigned DEPTH = CF*TURNS;
	localparam int unsigned AB = (DEPTH > 1)? $clog2(DEPTH) : 1;
	localparam int unsigned TB = (TURNS > 1)? $clog2(TURNS) : 1;
	localparam int unsigned ONES = $clog2(255*PIXELS + 1);
	localparam longint unsigned SQUARES_MAX = 65025 * 64'(PIXELS);
	localparam int unsigned SQUARES = $clog2(SQUARES_MAX + 1);
	localparam int unsigned UB = $clog2(UNITS);

	// A word, turn by turn
	logic [TURNS-1:0][UNITS-1:0][10:0] held;
	logic [2:0] held_mark;
	logic [TB-1:0] turn;
	logic busy;
	logic [AB-1:0] at;           // where the turn's channels have their sums
	always_ff @(posedge ap_clk) begin
		if(push) begin
			held <= level;
			held_mark <= mark;
		end
		if(!ap_rst_n) begin
			busy <= 1'b0;
			turn <= '0;
			at <= '0;
		end
		else begin
			busy <= push || (busy && turn != TB'(TURNS-1));
			if(push || busy) turn <= push? '0 : turn + 1'b1;
			if(busy) at <= (at == AB'(DEPTH-1))? '0 : at + 1'b1;
		end
	end

	// Stages: level | parts of the square | its product | square | sum | written
	logic [5:1] valid, counted, first, last;
	logic [5:1][AB-1:0] place;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) valid <= '0;
		else valid <= {valid[4:1], busy};
		counted <= {counted[4:1], held_mark[2]};
		first <= {first[4:1], held_mark[1]};
		last <= {last[4:1], held_mark[0] && turn == TB'(TURNS-1)};
		place <= {place[4:1], at};
	end
	always_ff @(posedge ap_clk) done <= ap_rst_n && valid[5] && last[5];

	wire [AB-1:0] read_at = valid[4]? place[4] : AB'(channel >> UB);
	logic [UNITS-1:0][31:0] answers;
	for(genvar unit = 0; unit < UNITS; unit++) begin : units
		wire [10:0] word = held[turn][unit];
		logic [7:0] q1, q2, q3, q4;
		logic [15:0] outer2, outer3, square4;
		logic [5:0] low2, high2;
		logic [7:0] inner3;
		function automatic logic [7:0] square(input logic [3:0] n);
			unique case(n)
				0: square = 0;
				1: square = 1;
				2: square = 4;
				3: square = 9;
				4: square = 16;
				5: square = 25;
				6: square = 36;
				7: square = 49;
				8: square = 64;
				9: square = 81;
				10: square = 100;
				11: square = 121;
				12: square = 144;
				13: square = 169;
				14: square = 196;
				15: square = 225;
			endcase
		endfunction
		function automatic logic [5:0] by_two(input logic [3:0] n, input logic [1:0] m); // n * m
			by_two = (m[0]? 6'(n) : 6'd0) + (m[1]? {1'b0, n, 1'b0} : 6'd0);
		endfunction
		// The sums: {of q^2, of q}
		(* ram_style = "distributed" *) logic [SQUARES+ONES-1:0] sums[1 << AB];
		logic [SQUARES+ONES-1:0] old, sum;
		wire [SQUARES-1:0] old_squares = first[5]? '0 : old[SQUARES+ONES-1:ONES];
		wire [ONES-1:0] old_ones = first[5]? '0 : old[ONES-1:0];
		logic [7:0] q5;
		logic [15:0] square5;
		always_ff @(posedge ap_clk) begin
			q1 <= word[10]? 8'd0 : (word[9] || &word[7:0])? 8'd255 : word[7:0] + 8'(word[8]);
			outer2 <= {square(q1[7:4]), square(q1[3:0])};
			low2 <= by_two(q1[3:0], q1[5:4]);
			high2 <= by_two(q1[3:0], q1[7:6]);
			q2 <= q1;
			outer3 <= outer2;
			inner3 <= 8'(low2) + {high2, 2'b0};
			q3 <= q2;
			square4 <= outer3 + {3'b0, inner3, 5'b0};
			q4 <= q3;
			q5 <= counted[4]? q4 : 8'd0;
			square5 <= counted[4]? square4 : 16'd0;
			old <= sums[read_at];
			sum <= {old_squares + SQUARES'(square5), old_ones + ONES'(q5)};
		end
		logic write;
		logic [AB-1:0] write_at;
		always_ff @(posedge ap_clk) begin
			write <= ap_rst_n && valid[5];
			write_at <= place[5];
			if(write) sums[write_at] <= sum;
		end
		wire [63:0] squares = 64'(old[SQUARES+ONES-1:ONES]);
		assign answers[unit] = field == 0? 32'(old[ONES-1:0]) : field == 2? squares[31:0]
			: field == 3? squares[63:32] : '0;
	end
	if(UNITS > 1) begin : of_units
		assign answer = answers[channel[UB-1:0]];
	end
	else begin : of_one
		assign answer = answers[0];
	end
endmodule
