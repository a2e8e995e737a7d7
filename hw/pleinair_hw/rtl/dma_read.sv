// From memory to a stream: reads frames over AXI and gives them as words of BYTES bytes, the first byte at the LSB.
//
// FRAME bytes make a frame, and FRAME is a multiple of BYTES. Frames lie one behind the other, from an address that is a multiple of
// the bus's word on. As many beats are asked for as the queue has room for, so RREADY is always high. `done` comes, for a
// cycle, when the last word has been taken. Answers are registered before anything is made of them, and so is the count of
// room: on a chip bus, queue and counters lie far from each other.
//
// An answer with an error stops it: what is under way comes in and is dropped, then `done` comes. From then on `error` holds
// the bus's answer (2 or 3; 1 for a transfer that cannot be), error_address where the burst began, and each start is done
// at once, because the accelerator holds half a frame. Only a reset ends this.
module dma_read #(
	int unsigned BYTES = 3,          // of a word of the stream
	int unsigned FRAME = 192,        // bytes
	int unsigned DATA_BITS = 64,
	int unsigned ADDRESS_BITS = 32,
	int unsigned QUEUE = 64          // beats that are asked for ahead
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic start,
	input  logic [63:0] address,
	input  logic [31:0] frames,
	output logic done,
	output logic [1:0] error,
	output logic [ADDRESS_BITS-1:0] error_address,

	output logic [ADDRESS_BITS-1:0] m_axi_ARADDR,
	output logic [3:0] m_axi_ARLEN,
	output logic m_axi_ARVALID,
	input  logic m_axi_ARREADY,
	input  logic [DATA_BITS-1:0] m_axi_RDATA,
	input  logic [1:0] m_axi_RRESP,
	input  logic m_axi_RLAST,
	input  logic m_axi_RVALID,
	output logic m_axi_RREADY,

	output logic [8*BYTES-1:0] out_V_TDATA,
	output logic out_V_TVALID,
	input  logic out_V_TREADY
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
	localparam int unsigned Q = $clog2(QUEUE), COUNT_BITS = $clog2((WORD + BYTES) / UNIT + 1);

	logic busy, stopped, ending;
	logic planned, wrong, burst_valid, burst_ready, burst_last;
	logic [ADDRESS_BITS-1:0] bytes, burst_address;
	logic [3:0] burst_len;

	// Answers, a cycle after they came
	logic r_valid, r_last;
	logic [1:0] r_resp;
	logic [DATA_BITS-1:0] r_data;
	always_ff @(posedge ap_clk) begin
		r_valid <= m_axi_RVALID && ap_rst_n;
		r_last <= m_axi_RLAST;
		r_resp <= m_axi_RRESP;
		r_data <= m_axi_RDATA;
	end
	wire fails = r_valid && r_resp[1];

	dma_plan #(.FRAME(FRAME), .DATA_BITS(DATA_BITS), .ADDRESS_BITS(ADDRESS_BITS)) plan (
		.ap_clk, .ap_rst_n, .start(start && error == '0), .abort(stopped), .address, .frames, .planned, .wrong, .bytes,
		.burst_valid, .burst_address, .burst_len, .burst_last, .burst_ready
	);

	// Addresses
	logic pop;
	logic [Q:0] room;                // of the queue, less what is under way; a word that leaves counts two cycles later
	logic [4:0] asked;               // beats in the last cycle: ARVALID keeps the next burst waiting until `room` knows
	logic popped;
	logic [Q-1:0] open;              // bursts that are asked for and not answered
	logic all_asked;
	wire ask = burst_valid && !m_axi_ARVALID && !stopped && room[Q:4] != '0;
	wire answered = r_valid && r_last;
	assign burst_ready = ask;
	assign m_axi_RREADY = 1'b1;
	always_ff @(posedge ap_clk) begin
		if(ask) begin
			m_axi_ARADDR <= burst_address;
			m_axi_ARLEN <= burst_len;
		end
		m_axi_ARVALID <= ask || (m_axi_ARVALID && !m_axi_ARREADY);
		asked <= ask? 5'(burst_len) + 1 : '0;
		popped <= pop;
		room <= room - (Q+1)'(asked) + (Q+1)'(popped);
		if(ask != answered) open <= ask? open + 1 : open - 1;
		if(start) all_asked <= 1'b0;
		else if(ask && burst_last) all_asked <= 1'b1;
		if(!ap_rst_n) begin
			m_axi_ARVALID <= 1'b0;
			asked <= '0;
			popped <= 1'b0;
			room <= (Q+1)'(QUEUE);
			open <= '0;
			all_asked <= 1'b0;
		end
	end

	// Data
	logic [DATA_BITS:0] beat;        // above the data: whether it is the transfer's last
	logic beat_valid, beat_ready;
	wire is_last = all_asked && open == Q'(1) && r_last;
	dma_queue #(.W(DATA_BITS + 1), .DEPTH(QUEUE)) queue (
		.ap_clk, .ap_rst_n, .push(r_valid && !stopped && !fails), .in_data({is_last, r_data}),
		.out_data(beat), .out_valid(beat_valid), .out_ready(beat_ready)
	);
	assign pop = beat_valid && beat_ready;
	logic empty;
	wire [L-1:0] tail = bytes[L-1:0];
	wire [COUNT_BITS-1:0] units = COUNT_BITS'((beat[DATA_BITS] && tail != '0? 32'(tail) : WORD) / UNIT);
	dma_gearbox #(.A(WORD), .B(BYTES), .UNIT(UNIT)) gearbox (
		.ap_clk, .ap_rst_n, .in_data(beat[DATA_BITS-1:0]), .in_units(units), .in_valid(beat_valid), .in_ready(beat_ready),
		.flush(1'b0), .out_data(out_V_TDATA), .out_valid(out_V_TVALID), .out_ready(out_V_TREADY), .empty
	);

	// Beginning, end and error
	logic at_first;                  // no burst of the transfer has been answered
	logic [ADDRESS_BITS-L-5:0] block;
	always_ff @(posedge ap_clk) begin
		done <= 1'b0;
		if(start) begin
			at_first <= 1'b1;
			block <= address[ADDRESS_BITS-1:L+4];
		end
		else if(answered) begin
			at_first <= 1'b0;
			block <= block + 1;
		end
		if(fails && error == '0) begin
			error <= r_resp;
			error_address <= {block, at_first? address[L+3:0] : (L+4)'(0)};
		end
		if(wrong) begin
			error <= 2'd1;
			error_address <= address[ADDRESS_BITS-1:0];
		end
		stopped <= stopped || fails;
		if(pop && beat[DATA_BITS]) ending <= 1'b1;
		if(busy) begin
			if(wrong || (planned && bytes == '0) || (ending && empty) || (stopped && open == '0 && !m_axi_ARVALID)) begin
				done <= 1'b1;
				busy <= 1'b0;
				ending <= 1'b0;
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
			ending <= 1'b0;
			error <= '0;
		end
	end

`ifndef SYNTHESIS
	initial begin
		if(FRAME % BYTES != 0) $error("dma_read: a frame of %0d bytes in words of %0d", FRAME, BYTES);
		if(QUEUE < 32 || (QUEUE & (QUEUE - 1)) != 0) $error("dma_read: a queue of %0d", QUEUE);
	end
`endif
endmodule
