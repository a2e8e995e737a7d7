// The bursts of a transfer: from an address and a number of frames to one burst after the other (dma_read, dma_write).
//
// Frames lie one behind the other, so a transfer is FRAME * frames bytes from the address on. Its bursts are the pieces that
// it leaves of blocks of 16 words: none has more than 16 beats, and none crosses a border of 4 KiB. After a start come
// 32 cycles in which the bytes are counted, a bit of the number of frames in each, and a few in which they become words;
// from then on a burst takes two cycles. So no cycle holds more than one addition of an address's width.
//
// An address that is not a multiple of a word, and a transfer that the addresses do not hold, end in `wrong`. A transfer of no
// frames ends in `planned` with no bytes. `address` stays as it is until the last burst is taken.
module dma_plan #(
	int unsigned FRAME = 192,        // bytes
	int unsigned DATA_BITS = 64,
	int unsigned ADDRESS_BITS = 32,
	localparam int unsigned L = $clog2(DATA_BITS / 8),
	localparam int unsigned WORD_BITS = ADDRESS_BITS - L,
	localparam int unsigned BLOCK_BITS = WORD_BITS - 4
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic start,
	input  logic abort,              // no more bursts
	input  logic [63:0] address,
	input  logic [31:0] frames,

	output logic planned,            // for a cycle: bytes are right from here on
	output logic wrong,              // for a cycle: there is no such transfer
	output logic [ADDRESS_BITS-1:0] bytes,

	output logic burst_valid,
	output logic [ADDRESS_BITS-1:0] burst_address,
	output logic [3:0] burst_len,    // beats less one
	output logic burst_last,
	input  logic burst_ready
);
	typedef enum logic [2:0] {IDLE, COUNT, WORDS, END, FINAL, BLOCKS, PREPARE, OFFER} state_t;
	state_t state;

	logic [31:0] left;               // bits of frames still to come, the highest first
	logic [4:0] step;
	logic overflow;
	logic [WORD_BITS:0] beats;
	wire [ADDRESS_BITS+1:0] sum = {1'b0, bytes, 1'b0} + (left[31]? (ADDRESS_BITS+2)'(FRAME) : '0);
	wire [ADDRESS_BITS:0] rounded = {1'b0, bytes} + (ADDRESS_BITS+1)'(DATA_BITS / 8 - 1);

	logic [WORD_BITS:0] stop;        // the word behind the last
	logic [WORD_BITS-1:0] final_word;
	logic [BLOCK_BITS-1:0] block, blocks; // of the burst, and those behind it
	logic first, last;
	wire [WORD_BITS-1:0] word = address[ADDRESS_BITS-1:L];
	wire outside = overflow || (stop[WORD_BITS] && stop[WORD_BITS-1:0] != '0);

	logic misplaced;
	assign burst_valid = state == OFFER;
	assign burst_address = {block, first? word[3:0] : 4'd0, L'(0)};
	assign burst_last = last;

	always_ff @(posedge ap_clk) begin
		planned <= 1'b0;
		wrong <= 1'b0;
		unique case(state)
			IDLE: if(start) begin
				left <= frames;
				step <= '0;
				bytes <= '0;
				overflow <= 1'b0;
				misplaced <= (address >> ADDRESS_BITS) != '0 || address[L-1:0] != '0;
				state <= COUNT;
			end
			COUNT: begin
				left <= left << 1;
				step <= step + 1;
				bytes <= sum[ADDRESS_BITS-1:0];
				overflow <= overflow || sum[ADDRESS_BITS+1:ADDRESS_BITS] != '0;
				if(&step) state <= WORDS;
			end
			WORDS: begin
				beats <= rounded[ADDRESS_BITS:L];
				state <= END;
			end
			END: begin
				stop <= {1'b0, word} + beats;
				state <= FINAL;
			end
			FINAL: begin
				final_word <= WORD_BITS'(stop - 1);
				if(misplaced || outside) begin
					wrong <= 1'b1;
					state <= IDLE;
				end
				else begin
					planned <= 1'b1;
					state <= beats == '0? IDLE : BLOCKS;
				end
			end
			BLOCKS: begin
				block <= word[WORD_BITS-1:4];
				blocks <= final_word[WORD_BITS-1:4] - word[WORD_BITS-1:4];
				first <= 1'b1;
				last <= final_word[WORD_BITS-1:4] == word[WORD_BITS-1:4];
				state <= PREPARE;
			end
			PREPARE: begin
				burst_len <= (last? final_word[3:0] : 4'd15) - (first? word[3:0] : 4'd0);
				state <= OFFER;
			end
			OFFER: if(burst_ready) begin
				block <= block + 1;
				blocks <= blocks - 1;
				first <= 1'b0;
				last <= blocks == BLOCK_BITS'(1);
				state <= last? IDLE : PREPARE;
			end
			default: state <= IDLE;
		endcase
		if(!ap_rst_n || abort) begin
			state <= IDLE;
			planned <= 1'b0;
			wrong <= 1'b0;
		end
	end

`ifndef SYNTHESIS
	initial begin
		if(FRAME == 0) $error("dma_plan: a frame has no bytes");
		if(DATA_BITS != 32 && DATA_BITS != 64 && DATA_BITS != 128) $error("dma_plan: words of %0d bits", DATA_BITS);
		if(ADDRESS_BITS < 16 || ADDRESS_BITS > 63) $error("dma_plan: addresses of %0d bits", ADDRESS_BITS);
	end
`endif
endmodule
