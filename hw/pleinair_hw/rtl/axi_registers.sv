// The processor's way into an accelerator: one AXI slave of 32 bits in front of the registers of two memory-access engines and
// any number of AXI-lite ports.
//
// It takes what M_AXI_GP0 of Zynq-7000 (AXI3) and M_AXI_HPM of Zynq UltraScale+ (AXI4) give: identifiers, and bursts of any length
// that stand or go forward, which come of a processor's copies of several words. Each beat is an access of its own. One
// write or read is in hand at a time. Bursts that wrap, and beats wider than a word, are answered with SLVERR
// and change nothing; so is an address that nothing lies at with DECERR.
//
// Engine 0 lies at 0, engine 1 at 64 KiB, port k in the 1 << SIZES[k] bytes from BASES[k] on, a multiple of its size. The
// registers of an engine are those of FINN's (Vitis HLS), and three for errors behind them:
//
//     0x00   bit 0 start, which is 1 until it is done; 1 done and 3 ready, both cleared by reading; 2 idle
//     0x10   address, low word      0x14   high word      0x1c   frames
//     0x40   error: 0 none, 2 or 3 the bus's answer, 1 a transfer that cannot be
//     0x44   where the burst began that was answered so, low word     0x48   high word
//
// All others are 0. While an engine works, what is written to its registers changes nothing.
module axi_registers #(
	int unsigned ADDRESS_BITS = 17,  // of the whole map
	int unsigned ID_BITS = 12,
	int unsigned LENGTH_BITS = 8,
	int unsigned PORTS = 0,
	localparam int unsigned MANY = PORTS > 0? PORTS : 1,
	parameter logic [MANY-1:0][31:0] BASES = '0,
	parameter logic [MANY-1:0][31:0] SIZES = '0
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	input  logic [ID_BITS-1:0] s_axi_AWID,
	input  logic [ADDRESS_BITS-1:0] s_axi_AWADDR,
	input  logic [LENGTH_BITS-1:0] s_axi_AWLEN,
	input  logic [2:0] s_axi_AWSIZE,
	input  logic [1:0] s_axi_AWBURST,
	input  logic s_axi_AWVALID,
	output logic s_axi_AWREADY,
	input  logic [31:0] s_axi_WDATA,
	input  logic [3:0] s_axi_WSTRB,
	input  logic s_axi_WVALID,
	output logic s_axi_WREADY,
	output logic [ID_BITS-1:0] s_axi_BID,
	output logic [1:0] s_axi_BRESP,
	output logic s_axi_BVALID,
	input  logic s_axi_BREADY,
	input  logic [ID_BITS-1:0] s_axi_ARID,
	input  logic [ADDRESS_BITS-1:0] s_axi_ARADDR,
	input  logic [LENGTH_BITS-1:0] s_axi_ARLEN,
	input  logic [2:0] s_axi_ARSIZE,
	input  logic [1:0] s_axi_ARBURST,
	input  logic s_axi_ARVALID,
	output logic s_axi_ARREADY,
	output logic [ID_BITS-1:0] s_axi_RID,
	output logic [31:0] s_axi_RDATA,
	output logic [1:0] s_axi_RRESP,
	output logic s_axi_RLAST,
	output logic s_axi_RVALID,
	input  logic s_axi_RREADY,

	output logic [1:0] start,
	output logic [1:0][63:0] address,
	output logic [1:0][31:0] frames,
	input  logic [1:0] done,
	input  logic [1:0][1:0] error,
	input  logic [1:0][63:0] error_address,

	// Port k has bit k of each handshake, and its part of the answers.
	output logic [ADDRESS_BITS-1:0] lite_ADDR,
	output logic [31:0] lite_WDATA,
	output logic [3:0] lite_WSTRB,
	output logic [MANY-1:0] lite_AWVALID,
	input  logic [MANY-1:0] lite_AWREADY,
	output logic [MANY-1:0] lite_WVALID,
	input  logic [MANY-1:0] lite_WREADY,
	input  logic [MANY-1:0][1:0] lite_BRESP,
	input  logic [MANY-1:0] lite_BVALID,
	output logic [MANY-1:0] lite_BREADY,
	output logic [MANY-1:0] lite_ARVALID,
	input  logic [MANY-1:0] lite_ARREADY,
	input  logic [MANY-1:0][31:0] lite_RDATA,
	input  logic [MANY-1:0][1:0] lite_RRESP,
	input  logic [MANY-1:0] lite_RVALID,
	output logic [MANY-1:0] lite_RREADY
);
	localparam logic [1:0] OKAY = 2'b00, SLVERR = 2'b10, DECERR = 2'b11;
	typedef enum logic [3:0] {IDLE, TAKE_WRITE, TAKE_READ, DATA, DECODE, ACT, WAIT, REPLY, NEXT} state_t;
	state_t state;
	logic writing, moves, refused;
	logic [ID_BITS-1:0] id;
	logic [LENGTH_BITS-1:0] left;
	logic [1:0] size, response;
	logic [ADDRESS_BITS-1:0] at;
	logic [31:0] data, found;
	logic [3:0] strobes;

	assign s_axi_AWREADY = state == TAKE_WRITE;
	assign s_axi_ARREADY = state == TAKE_READ;
	assign s_axi_WREADY = state == DATA;
	assign s_axi_BVALID = state == REPLY && writing;
	assign s_axi_RVALID = state == REPLY && !writing;
	assign s_axi_BID = id;
	assign s_axi_RID = id;
	assign s_axi_BRESP = response;
	assign s_axi_RRESP = response;
	assign s_axi_RDATA = found;
	assign s_axi_RLAST = left == '0;

	// What lies at an address, known a cycle after it
	logic engine;
	logic [MANY-1:0] port;
	for(genvar k = 0; k < MANY; k++) begin : ports
		if(PORTS == 0) assign port[k] = 1'b0;
		else begin
			logic here;
			always_ff @(posedge ap_clk) here <= 32'(at) >> SIZES[k] == BASES[k] >> SIZES[k];
			assign port[k] = here;
		end
	end
	always_ff @(posedge ap_clk) engine <= at >> 17 == '0;
	assign lite_ADDR = at;
	assign lite_WDATA = data;
	assign lite_WSTRB = strobes;

	// The engines' registers
	logic [1:0] running, finished;
	wire e = at[16];
	wire in_map = at[15:7] == '0;
	wire is_act = state == ACT && engine && !refused;
	function automatic logic [31:0] merged(logic [31:0] old);
		for(int k = 0; k < 4; k++) merged[8*k+:8] = strobes[k]? data[8*k+:8] : old[8*k+:8];
	endfunction
	logic [31:0] value;
	always_comb begin
		value = '0;
		if(in_map) unique case(at[6:2])
			5'h00: value = {28'd0, finished[e], !running[e], finished[e], running[e]};
			5'h04: value = address[e][31:0];
			5'h05: value = address[e][63:32];
			5'h07: value = frames[e];
			5'h10: value = {30'd0, error[e]};
			5'h11: value = error_address[e][31:0];
			5'h12: value = error_address[e][63:32];
			default:;
		endcase
	end
	always_ff @(posedge ap_clk) begin
		start <= '0;
		if(is_act && writing && in_map && !running[e]) unique case(at[6:2])
			5'h00: if(strobes[0] && data[0]) begin
				start[e] <= 1'b1;
				running[e] <= 1'b1;
				finished[e] <= 1'b0;
			end
			5'h04: address[e][31:0] <= merged(address[e][31:0]);
			5'h05: address[e][63:32] <= merged(address[e][63:32]);
			5'h07: frames[e] <= merged(frames[e]);
			default:;
		endcase
		if(is_act && !writing && in_map && at[6:2] == '0) finished[e] <= 1'b0;
		for(int k = 0; k < 2; k++) if(done[k]) begin
			running[k] <= 1'b0;
			finished[k] <= 1'b1;
		end
		if(!ap_rst_n) begin
			start <= '0;
			running <= '0;
			finished <= '0;
			address <= '0;
			frames <= '0;
		end
	end

	// The answer of the one port that was asked
	logic answered;
	logic [1:0] answer;
	logic [31:0] given;
	always_comb begin
		answered = 1'b0;
		answer = '0;
		given = '0;
		for(int k = 0; k < MANY; k++) if(port[k]) begin
			answered |= writing? lite_BVALID[k] : lite_RVALID[k];
			answer |= writing? lite_BRESP[k] : lite_RRESP[k];
			given |= lite_RDATA[k];
		end
	end
	assign lite_BREADY = state == WAIT && writing? port : '0;
	assign lite_RREADY = state == WAIT && !writing? port : '0;
	wire [1:0] worse = response | answer; // OKAY, SLVERR and DECERR: bit by bit the worse of two

	always_ff @(posedge ap_clk) begin
		lite_AWVALID <= lite_AWVALID & ~lite_AWREADY;
		lite_WVALID <= lite_WVALID & ~lite_WREADY;
		lite_ARVALID <= lite_ARVALID & ~lite_ARREADY;
		unique case(state)
			IDLE: begin
				response <= OKAY;
				writing <= s_axi_AWVALID;
				if(s_axi_AWVALID) state <= TAKE_WRITE;
				else if(s_axi_ARVALID) state <= TAKE_READ;
			end
			TAKE_WRITE: begin
				id <= s_axi_AWID;
				at <= s_axi_AWADDR;
				left <= s_axi_AWLEN;
				size <= s_axi_AWSIZE[1:0];
				moves <= s_axi_AWBURST == 2'b01;
				refused <= s_axi_AWBURST[1] || s_axi_AWSIZE > 3'd2;
				state <= DATA;
			end
			TAKE_READ: begin
				id <= s_axi_ARID;
				at <= s_axi_ARADDR;
				left <= s_axi_ARLEN;
				size <= s_axi_ARSIZE[1:0];
				moves <= s_axi_ARBURST == 2'b01;
				refused <= s_axi_ARBURST[1] || s_axi_ARSIZE > 3'd2;
				state <= DECODE;
			end
			DATA: if(s_axi_WVALID) begin
				data <= s_axi_WDATA;
				strobes <= s_axi_WSTRB;
				state <= DECODE;
			end
			DECODE: state <= ACT;
			ACT: begin
				found <= refused || !engine? '0 : value;
				state <= writing && left != '0? NEXT : REPLY;
				if(refused) response <= SLVERR;
				else if(|port) begin
					if(writing) {lite_AWVALID, lite_WVALID} <= {port, port};
					else lite_ARVALID <= port;
					state <= WAIT;
				end
				else if(!engine) response <= DECERR;
			end
			WAIT: if(answered) begin
				found <= given;
				response <= worse;
				state <= writing && left != '0? NEXT : REPLY;
			end
			REPLY: if(writing? s_axi_BREADY : s_axi_RREADY) state <= left == '0? IDLE : NEXT;
			NEXT: begin
				left <= left - 1;
				if(moves) at <= at + (ADDRESS_BITS'(1) << size);
				if(!writing) response <= OKAY;
				state <= writing? DATA : DECODE;
			end
			default: state <= IDLE;
		endcase
		if(!ap_rst_n) begin
			state <= IDLE;
			{lite_AWVALID, lite_WVALID, lite_ARVALID} <= '0;
		end
	end

`ifndef SYNTHESIS
	initial if(ADDRESS_BITS < 17) $error("axi_registers: a map of %0d bits of address", ADDRESS_BITS);
`endif
endmodule
