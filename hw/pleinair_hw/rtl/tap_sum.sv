// The horizontal half of a K x K convolution: sums the partial results of K taps along a row, a transposed FIR filter.
//
// The vertical half gives for each channel K partials P[t], one for each horizontal tap, element c*K + t of a word. When
// column n arrives, out = R[K-2] + P[K-1]; R[t] becomes R[t-1] + P[t] and R[0] becomes P[0], with R = 0 before a row. That
// is pixel n - LEAD: sum over t of P[t] of column n - LEAD + t - K/2, so the row's first LEAD = K/2 outputs are dropped and
// K/2 columns of zeros must follow the real ones. COLUMNS counts both; a row has COLUMNS - LEAD outputs. OW bits must hold
// every sum of partials (checked in simulation).
module tap_sum #(
	int unsigned K = 3,        // taps
	int unsigned PE = 1,       // channels a word
	int unsigned CF = 1,       // words a pixel
	int unsigned IW = 16,      // bits of a partial, signed
	int unsigned OW = 18,      // bits of a sum, signed
	int unsigned COLUMNS = 8,  // input pixels a row
	int unsigned LEAD = K/2,   // outputs dropped at a row's start

	localparam int unsigned IN_BITS = (PE*K*IW+7)/8*8,
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
	localparam int unsigned CW = (CF > 1)? $clog2(CF) : 1;
	localparam int unsigned XW = $clog2(COLUMNS+1);
	localparam int unsigned SW = PE*(K-1)*OW; // a word's state: R of each lane

	// Where in the row
	logic [CW-1:0] c;
	logic [XW-1:0] x;
	logic first, emit; // column 0; column LEAD and later
	wire enter = in0_V_TVALID && in0_V_TREADY;
	wire c_last = c == CW'(CF-1);
	wire x_last = x == XW'(COLUMNS-1);
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			c <= '0;
			x <= '0;
			first <= 1'b1;
			emit <= LEAD == 0;
		end
		else if(enter) begin
			c <= c_last? '0 : c + 1'b1;
			if(c_last) begin
				x <= x_last? '0 : x + 1'b1;
				first <= x_last;
				emit <= (emit && !x_last) || (LEAD == 0) || (x == XW'(LEAD-1));
			end
		end
	end

	// Stage 1: the word and its state
	logic valid;
	logic [1:0] emitted;
	logic [PE*K*IW-1:0] partial;
	logic first1;
	wire [SW-1:0] state;
	logic [SW-1:0] state_next;
	always_ff @(posedge ap_clk) begin
		partial <= in0_V_TDATA[PE*K*IW-1:0];
		first1 <= first;
	end
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			valid <= 1'b0;
			emitted <= '0;
		end
		else begin
			valid <= enter;
			emitted <= {emitted[0], enter && emit};
		end
	end
	if(CF == 1) begin : register_state
		logic [SW-1:0] r;
		always_ff @(posedge ap_clk) if(valid) r <= state_next;
		assign state = r;
	end
	else begin : memory_state
		// A channel is read again CF cycles on, at the earliest. What is written at once can be read two cycles after it
		// was read; what passes through a register first, so that the sum and the way to the memory have a cycle each, three.
		localparam bit REGISTERED = CF > 2;
		(* ram_style = "distributed" *) logic [SW-1:0] mem[CF];
		logic [SW-1:0] r;
		logic [CW-1:0] c1;
		always_ff @(posedge ap_clk) begin
			r <= mem[c];
			c1 <= c;
		end
		if(REGISTERED) begin : registered
			logic write;
			logic [CW-1:0] c2;
			logic [SW-1:0] sum;
			always_ff @(posedge ap_clk) begin
				write <= valid && ap_rst_n;
				c2 <= c1;
				sum <= state_next;
				if(write) mem[c2] <= sum;
			end
		end
		else begin : at_once
			always_ff @(posedge ap_clk) if(valid) mem[c1] <= state_next;
		end
		assign state = r;
	end

	// Stage 2: the sums
	logic [PE*OW-1:0] y;
	for(genvar lane = 0; lane < PE; lane++) begin : lanes
		wire [K*OW-1:0] total; // total[t] = R[t-1] + P[t]
		for(genvar t = 0; t < K; t++) begin : taps
			wire [IW-1:0] p = partial[(lane*K+t)*IW+:IW];
			wire [OW-1:0] wide = {{(OW-IW){p[IW-1]}}, p};
			if(t == 0) begin : start
				assign total[0+:OW] = wide;
			end
			else begin : add
				wire [OW-1:0] r = first1? '0 : state[(lane*(K-1)+t-1)*OW+:OW];
				assign total[t*OW+:OW] = r + wide;
`ifndef SYNTHESIS
				always_ff @(posedge ap_clk) begin
					if(ap_rst_n && valid)
						assert(r[OW-1] != wide[OW-1] || total[t*OW+OW-1] == r[OW-1])
						else $error("tap_sum: a sum does not fit OW bits");
				end
`endif
			end
		end
		assign state_next[lane*(K-1)*OW+:(K-1)*OW] = total[0+:(K-1)*OW];
		always_ff @(posedge ap_clk) y[lane*OW+:OW] <= total[(K-1)*OW+:OW];
	end

	logic [PE*OW-1:0] q;
	assign out0_V_TDATA = OUT_BITS'(q);
	output_queue #(.W(PE*OW), .DEPTH(16)) queue (
		.ap_clk, .ap_rst_n,
		.ready(in0_V_TREADY), .enter(enter && emit), .push(emitted[1]), .push_tdata(y),
		.out_tdata(q), .out_tvalid(out0_V_TVALID), .out_tready(out0_V_TREADY)
	);

`ifndef SYNTHESIS
	initial begin
		if(K < 2) $error("tap_sum: K is %0d, not at least 2", K);
		if(PE == 0 || CF == 0) $error("tap_sum: PE and CF must be at least 1");
		if(IW < 2 || OW <= IW) $error("tap_sum: OW %0d must exceed IW %0d", OW, IW);
		if(LEAD >= COLUMNS) $error("tap_sum: LEAD %0d must be less than COLUMNS %0d", LEAD, COLUMNS);
	end
`endif
endmodule
