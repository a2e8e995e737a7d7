// From a stream to memory: takes words of BYTES bytes, the first byte at the LSB, and writes them as frames over AXI.
//
// FRAME bytes make a frame, and FRAME is a multiple of BYTES. Frames lie one behind the other, from an address that is a multiple of
// the bus's word on; of the last word only the frame's bytes are written. It takes as many words of the stream as the frames
// have. A burst begins when all of it is there, so the bus never waits. `done` comes, for a cycle, when the last burst is
// answered. Answers and counts are registered as in dma_read.
//
// An answer with an error stops it: the burst under way is finished, all answers come in, then `done` comes. From then on
// `error` holds the bus's answer (2 or 3; 1 for a transfer that cannot be), error_address where the burst began, and each
// start is done at once. Only a reset ends this.
module dma_write #(
	int unsigned BYTES = 3,          // of a word of the stream
	int unsigned FRAME = 192,        // bytes
	int unsigned DATA_BITS = 64,
	int unsigned ADDRESS_BITS = 32
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic start,
	input  logic [63:0] address,
	input  logic [31:0] frames,
	output logic done,
	output logic [1:0] error,
	output logic [ADDRESS_BITS-1:0] error_address,

	output logic [ADDRESS_BITS-1:0] m_axi_AWADDR,
	output logic [3:0] m_axi_AWLEN,
	output logic m_axi_AWVALID,
	input  logic m_axi_AWREADY,
	output logic [DATA_BITS-1:0] m_axi_WDATA,
	output logic [DATA_BITS/8-1:0] m_axi_WSTRB,
	output logic m_axi_WLAST,
	output logic m_axi_WVALID,
	input  logic m_axi_WREADY,
	input  logic [1:0] m_axi_BRESP,
	input  logic m_axi_BVALID,
	output logic m_axi_BREADY,

	input  logic [8*BYTES-1:0] in_V_TDATA,
	input  logic in_V_TVALID,
	output logic in_V_TREADY
);
	function automatic int unsigned common(int unsigned a, int unsigned b);
		while(b != 0) begin
			int unsigned rest = a % b;
			a = b;
			b = rest;
		end
		return a;
	endfunction
	localparam int unsigned WORD = DATA_BITS / 8, L = $clog2(WORD), UNIT = common(WORD, BYTES);
	localparam int unsigned Q = 5, COUNT_BITS = $clog2((WORD + BYTES) / UNIT + 1);
	localparam int unsigned ANSWERS = 4; // bits: so many bursts less one may wait for their answers

	logic busy, stopped;
	logic planned, wrong, burst_valid, burst_ready, burst_last;
	logic [ADDRESS_BITS-1:0] bytes, burst_address;
	logic [3:0] burst_len;

	// Answers, a cycle after they came
	logic b_valid;
	logic [1:0] b_resp;
	always_ff @(posedge ap_clk) begin
		b_valid <= m_axi_BVALID && ap_rst_n;
		b_resp <= m_axi_BRESP;
	end
	wire fails = b_valid && b_resp[1];

	dma_plan #(.FRAME(FRAME), .DATA_BITS(DATA_BITS), .ADDRESS_BITS(ADDRESS_BITS)) plan (
		.ap_clk, .ap_rst_n, .start(start && error == '0), .abort(stopped), .address, .frames, .planned, .wrong, .bytes,
		.burst_valid, .burst_address, .burst_len, .burst_last, .burst_ready
	);

	// Data: words of the stream until all of the transfer are there
	logic [ADDRESS_BITS-1:0] to_take; // bytes
	logic taking, all_taken;
	logic g_ready, g_valid, room, q_valid, q_ready, empty;
	logic [DATA_BITS-1:0] g_data, q_data;
	wire take = in_V_TVALID && in_V_TREADY;
	assign in_V_TREADY = taking && g_ready;
	always_ff @(posedge ap_clk) begin
		if(planned) begin
			to_take <= bytes;
			taking <= bytes != '0;
			all_taken <= 1'b0;
		end
		else if(take) begin
			to_take <= to_take - ADDRESS_BITS'(BYTES);
			if(to_take == ADDRESS_BITS'(BYTES)) begin
				taking <= 1'b0;
				all_taken <= 1'b1;
			end
		end
		if(!ap_rst_n) begin
			taking <= 1'b0;
			all_taken <= 1'b0;
		end
	end
	dma_gearbox #(.A(BYTES), .B(WORD), .UNIT(UNIT)) gearbox (
		.ap_clk, .ap_rst_n, .in_data(in_V_TDATA), .in_units(COUNT_BITS'(BYTES / UNIT)), .in_valid(in_V_TVALID && taking),
		.in_ready(g_ready), .flush(all_taken), .out_data(g_data), .out_valid(g_valid), .out_ready(room), .empty
	);
	logic [Q:0] stored;              // words in the queue
	logic [Q:0] waiting;             // of them, those of no burst yet; a word counts a cycle later
	logic [4:0] issued;              // words in the last cycle: the plan's next burst comes when `waiting` knows
	logic pushed;
	wire push = g_valid && room;
	wire pop = q_valid && q_ready;
	dma_queue #(.W(DATA_BITS), .DEPTH(1 << Q)) queue (
		.ap_clk, .ap_rst_n, .push, .in_data(g_data), .out_data(q_data), .out_valid(q_valid), .out_ready(q_ready)
	);

	// Bursts
	logic [ANSWERS-1:0] open;        // bursts that are not answered
	logic [3:0] left;
	logic sending, last, enough;
	wire issue = burst_valid && enough && !m_axi_AWVALID && !sending && !stopped && !open[ANSWERS-1];
	wire sent = m_axi_WVALID && m_axi_WREADY;
	wire [L-1:0] tail = bytes[L-1:0];
	assign burst_ready = issue;
	assign m_axi_BREADY = 1'b1;
	assign m_axi_WDATA = q_data;
	assign m_axi_WVALID = sending && q_valid;
	assign q_ready = sending && m_axi_WREADY;
	assign m_axi_WLAST = left == '0;
	for(genvar k = 0; k < WORD; k++) begin : strobes
		assign m_axi_WSTRB[k] = !(last && m_axi_WLAST) || tail == '0 || k < tail;
	end
	always_ff @(posedge ap_clk) begin
		if(issue) begin
			m_axi_AWADDR <= burst_address;
			m_axi_AWLEN <= burst_len;
			left <= burst_len;
			last <= burst_last;
		end
		else if(sent) left <= left - 1;
		m_axi_AWVALID <= issue || (m_axi_AWVALID && !m_axi_AWREADY);
		sending <= issue || (sending && !(sent && m_axi_WLAST));
		stored <= stored + (Q+1)'(push) - (Q+1)'(pop);
		room <= stored < (Q+1)'((1 << Q) - 1);
		issued <= issue? 5'(burst_len) + 1 : '0;
		pushed <= push;
		waiting <= waiting + (Q+1)'(pushed) - (Q+1)'(issued);
		enough <= !issue && burst_valid && waiting > (Q+1)'(burst_len);
		if(issue != b_valid) open <= issue? open + 1 : open - 1;
		if(!ap_rst_n) begin
			m_axi_AWVALID <= 1'b0;
			sending <= 1'b0;
			stored <= '0;
			room <= 1'b0;
			issued <= '0;
			pushed <= 1'b0;
			waiting <= '0;
			enough <= 1'b0;
			open <= '0;
			left <= '0;
			last <= 1'b0;
		end
	end

	// Beginning, end and error
	logic all_issued, at_first;      // at_first: no burst of the transfer has been answered
	logic [ADDRESS_BITS-L-5:0] block;
	always_ff @(posedge ap_clk) begin
		done <= 1'b0;
		if(start) begin
			at_first <= 1'b1;
			block <= address[ADDRESS_BITS-1:L+4];
		end
		else if(b_valid) begin
			at_first <= 1'b0;
			block <= block + 1;
		end
		if(fails && error == '0) begin
			error <= b_resp;
			error_address <= {block, at_first? address[L+3:0] : (L+4)'(0)};
		end
		if(wrong) begin
			error <= 2'd1;
			error_address <= address[ADDRESS_BITS-1:0];
		end
		stopped <= stopped || fails;
		if(issue && burst_last) all_issued <= 1'b1;
		if(busy) begin
			if(wrong || (planned && bytes == '0) || ((all_issued || stopped) && open == '0 && !m_axi_AWVALID && !sending)) begin
				done <= 1'b1;
				busy <= 1'b0;
				all_issued <= 1'b0;
			end
		end
		else if(start) begin
			done <= error != '0;
			busy <= error == '0;
		end
		if(!ap_rst_n) begin
			done <= 1'b0;
			busy <= 1'b0;
			stopped <= 1'b0;
			all_issued <= 1'b0;
			error <= '0;
		end
	end

`ifndef SYNTHESIS
	initial if(FRAME % BYTES != 0) $error("dma_write: a frame of %0d bytes in words of %0d", FRAME, BYTES);
`endif
endmodule
