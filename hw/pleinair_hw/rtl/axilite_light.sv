// The AXI-lite port of an accelerator's light: a decoder between a processor and the stations (light_station.sv).
//
// Address and data of a write may come in any order. One write and one read are in hand at a time, and each is answered
// before the next of its kind is taken. An address that nothing lies at, a write to what can only be read, and a write with
// some of a word's strobes but not all are answered with SLVERR and change nothing; one without any strobe is answered
// with OKAY and changes nothing either. The last two bits of an address do not matter.
//
// The map is in the parameters: byte addresses of ID and of each station's table, sums and registers; station 0 comes
// first, in the lowest 32 bits. ID is the hash of the map; behind it come the version and two words of 0. A table and its
// sums take 16 << CHANNEL_BITS bytes each and lie at a multiple of that, registers 32; sums at 32'hffffffff are not there.
module axilite_light #(
	int unsigned STATIONS = 1,
	int unsigned ADDRESS_BITS = 12,
	logic [31:0] HASH = 0,
	logic [31:0] VERSION = 1,
	logic [31:0] ID = 0,
	logic [STATIONS-1:0][31:0] TABLES = '0,
	logic [STATIONS-1:0][31:0] SUMS = '0,
	logic [STATIONS-1:0][31:0] REGISTERS = '0,
	logic [STATIONS-1:0][31:0] CHANNEL_BITS = '0
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic [ADDRESS_BITS-1:0] s_axilite_light_AWADDR,
	input  logic s_axilite_light_AWVALID,
	output logic s_axilite_light_AWREADY,
	input  logic [31:0] s_axilite_light_WDATA,
	input  logic [3:0] s_axilite_light_WSTRB,
	input  logic s_axilite_light_WVALID,
	output logic s_axilite_light_WREADY,
	output logic [1:0] s_axilite_light_BRESP,
	output logic s_axilite_light_BVALID,
	input  logic s_axilite_light_BREADY,
	input  logic [ADDRESS_BITS-1:0] s_axilite_light_ARADDR,
	input  logic s_axilite_light_ARVALID,
	output logic s_axilite_light_ARREADY,
	output logic [31:0] s_axilite_light_RDATA,
	output logic [1:0] s_axilite_light_RRESP,
	output logic s_axilite_light_RVALID,
	input  logic s_axilite_light_RREADY,

	output logic [48*STATIONS-1:0] requests,
	input  logic [34*STATIONS-1:0] answers
);
	localparam logic [1:0] OKAY = 2'b00, SLVERR = 2'b10;
	typedef enum logic [1:0] {IDLE, LOOK, DECODE, WAIT} state_t;
	state_t state;
	logic has_address, has_data, has_read;   // taken, not yet answered
	logic [ADDRESS_BITS-1:0] write_address, read_address, at;
	logic [31:0] data;
	logic [3:0] strobes;
	logic writing;

	// What lies at an address
	logic [STATIONS-1:0][2:0] here, chosen; // sums, registers, table
	logic own;
	for(genvar s = 0; s < STATIONS; s++) begin : stations
		localparam int unsigned BLOCK = 4 + CHANNEL_BITS[s];
		assign here[s][0] = 32'(at) >> BLOCK == TABLES[s] >> BLOCK;
		assign here[s][1] = 32'(at) >> 5 == REGISTERS[s] >> 5;
		assign here[s][2] = SUMS[s] != '1 && 32'(at) >> BLOCK == SUMS[s] >> BLOCK;
		// The address inside a table or sums, or inside registers
		localparam logic [11:0] INSIDE = 12'((1 << (2 + CHANNEL_BITS[s])) - 1);
		wire [11:0] place = 12'(32'(at) >> 2) & (chosen[s][1]? 12'd7 : INSIDE);
		assign requests[48*s+:48] = {chosen[s], writing, place, data};
	end
	wire whole = strobes == '1;

	// A station's answer, for one cycle
	logic [33:0] answer;
	logic done, error;
	logic [31:0] answered;
	always_comb begin
		answer = '0;
		for(int unsigned s = 0; s < STATIONS; s++) answer |= answers[34*s+:34];
	end
	always_ff @(posedge ap_clk) begin
		{done, error, answered} <= answer;
		if(!ap_rst_n) done <= 1'b0;
	end

	assign s_axilite_light_AWREADY = !has_address;
	assign s_axilite_light_WREADY = !has_data;
	assign s_axilite_light_ARREADY = !has_read;
	wire write_answered = s_axilite_light_BVALID && s_axilite_light_BREADY;
	wire read_answered = s_axilite_light_RVALID && s_axilite_light_RREADY;
	wire write_waits = has_address && has_data && !s_axilite_light_BVALID;
	wire read_waits = has_read && !s_axilite_light_RVALID;

	// The answer to what is in hand
	wire refused = writing && !whole;
	wire decoded = state == DECODE && !(|chosen);
	wire reply = decoded || (state == WAIT && done);
	wire wrong = state == WAIT? error : refused? strobes != '0 : writing || !own;
	wire [31:0] value = state == WAIT? answered : !own? '0 : at[3:2] == 0? HASH : at[3:2] == 1? VERSION : '0;
	always_ff @(posedge ap_clk) begin
		if(s_axilite_light_AWVALID && s_axilite_light_AWREADY) write_address <= s_axilite_light_AWADDR;
		if(s_axilite_light_ARVALID && s_axilite_light_ARREADY) read_address <= s_axilite_light_ARADDR;
		if(s_axilite_light_WVALID && s_axilite_light_WREADY) begin
			data <= s_axilite_light_WDATA;
			strobes <= s_axilite_light_WSTRB;
		end
		if(reply && writing) s_axilite_light_BRESP <= wrong? SLVERR : OKAY;
		if(reply && !writing) begin
			s_axilite_light_RRESP <= wrong? SLVERR : OKAY;
			s_axilite_light_RDATA <= value;
		end
		if(!ap_rst_n) begin
			state <= IDLE;
			{has_address, has_data, has_read, writing} <= '0;
			{s_axilite_light_BVALID, s_axilite_light_RVALID} <= '0;
			chosen <= '0;
		end
		else begin
			if(s_axilite_light_AWVALID && s_axilite_light_AWREADY) has_address <= 1'b1;
			if(s_axilite_light_WVALID && s_axilite_light_WREADY) has_data <= 1'b1;
			if(s_axilite_light_ARVALID && s_axilite_light_ARREADY) has_read <= 1'b1;
			if(write_answered) begin
				s_axilite_light_BVALID <= 1'b0;
				has_address <= 1'b0;
				has_data <= 1'b0;
			end
			if(read_answered) begin
				s_axilite_light_RVALID <= 1'b0;
				has_read <= 1'b0;
			end
			if(reply && writing) s_axilite_light_BVALID <= 1'b1;
			if(reply && !writing) s_axilite_light_RVALID <= 1'b1;
			unique case(state)
				IDLE: if(write_waits || read_waits) begin
					state <= LOOK;
					writing <= write_waits;
					at <= write_waits? write_address : read_address;
				end
				LOOK: begin
					state <= DECODE;
					chosen <= refused? '0 : here;
					own <= 32'(at) >> 4 == ID >> 4;
				end
				DECODE: state <= reply? IDLE : WAIT;
				WAIT: if(reply) begin
					state <= IDLE;
					chosen <= '0;
				end
			endcase
		end
	end

`ifndef SYNTHESIS
	initial if(STATIONS == 0) $error("axilite_light: no stations");
`endif
endmodule
