// What lies between a processing system and an accelerator of FINN's: registers (axi_registers), an engine that reads frames from
// memory (dma_read) and one that writes them (dma_write), and the way to the accelerator's AXI-lite ports.
//
// The engines share one AXI master: bursts of up to 16 beats that never cross 4 KiB, always going forward, so that it serves
// AXI3 and AXI4. Identifiers are 0. ap_rst_n may fall and rise at any time; the accelerator gets it in step with the clock.
module shell #(
	int unsigned IN_BYTES = 3,       // of a word of the accelerator's input
	int unsigned IN_FRAME = 192,     // bytes
	int unsigned OUT_BYTES = 3,
	int unsigned OUT_FRAME = 192,
	int unsigned DATA_BITS = 64,     // of memory: 32, 64 or 128
	int unsigned ADDRESS_BITS = 32,
	int unsigned MAP_BITS = 17,      // of the registers' addresses
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
	input  logic [MAP_BITS-1:0] s_axi_AWADDR,
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
	input  logic [MAP_BITS-1:0] s_axi_ARADDR,
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

	output logic [ADDRESS_BITS-1:0] m_axi_ARADDR,
	output logic [3:0] m_axi_ARLEN,
	output logic m_axi_ARVALID,
	input  logic m_axi_ARREADY,
	input  logic [DATA_BITS-1:0] m_axi_RDATA,
	input  logic [1:0] m_axi_RRESP,
	input  logic m_axi_RLAST,
	input  logic m_axi_RVALID,
	output logic m_axi_RREADY,
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

	// The accelerator
	output logic core_rst_n,
	output logic [8*IN_BYTES-1:0] in0_V_TDATA,
	output logic in0_V_TVALID,
	input  logic in0_V_TREADY,
	input  logic [8*OUT_BYTES-1:0] out0_V_TDATA,
	input  logic out0_V_TVALID,
	output logic out0_V_TREADY,
	output logic [MAP_BITS-1:0] lite_ADDR,
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
	(* ASYNC_REG = "TRUE" *) logic [2:0] reset_n = '0;
	// Kept high in reset, as flip-flops take it: an inverter before thousands of them made the slowest path.
	logic rst = 1'b1, core_rst = 1'b1;
	wire rst_n = !rst;
	always_ff @(posedge ap_clk) begin
		reset_n <= {reset_n[1:0], ap_rst_n};
		rst <= !reset_n[2];
		core_rst <= !reset_n[2];
	end
	assign core_rst_n = !core_rst;

	logic [1:0] start, done;
	logic [1:0][63:0] address, error_address;
	logic [1:0][31:0] frames;
	logic [1:0][1:0] error;
	logic [1:0][ADDRESS_BITS-1:0] place;
	assign error_address = {64'(place[1]), 64'(place[0])};
	axi_registers #(
		.ADDRESS_BITS(MAP_BITS), .ID_BITS(ID_BITS), .LENGTH_BITS(LENGTH_BITS), .PORTS(PORTS), .BASES(BASES), .SIZES(SIZES)
	) registers (
		.ap_clk, .ap_rst_n(rst_n), .s_axi_AWID, .s_axi_AWADDR, .s_axi_AWLEN, .s_axi_AWSIZE, .s_axi_AWBURST, .s_axi_AWVALID,
		.s_axi_AWREADY, .s_axi_WDATA, .s_axi_WSTRB, .s_axi_WVALID, .s_axi_WREADY, .s_axi_BID, .s_axi_BRESP, .s_axi_BVALID,
		.s_axi_BREADY, .s_axi_ARID, .s_axi_ARADDR, .s_axi_ARLEN, .s_axi_ARSIZE, .s_axi_ARBURST, .s_axi_ARVALID,
		.s_axi_ARREADY, .s_axi_RID, .s_axi_RDATA, .s_axi_RRESP, .s_axi_RLAST, .s_axi_RVALID, .s_axi_RREADY,
		.start, .address, .frames, .done, .error, .error_address,
		.lite_ADDR, .lite_WDATA, .lite_WSTRB, .lite_AWVALID, .lite_AWREADY, .lite_WVALID, .lite_WREADY, .lite_BRESP,
		.lite_BVALID, .lite_BREADY, .lite_ARVALID, .lite_ARREADY, .lite_RDATA, .lite_RRESP, .lite_RVALID, .lite_RREADY
	);
	dma_read #(.BYTES(IN_BYTES), .FRAME(IN_FRAME), .DATA_BITS(DATA_BITS), .ADDRESS_BITS(ADDRESS_BITS)) idma0 (
		.ap_clk, .ap_rst_n(rst_n), .start(start[0]), .address(address[0]), .frames(frames[0]), .done(done[0]),
		.error(error[0]), .error_address(place[0]), .m_axi_ARADDR, .m_axi_ARLEN, .m_axi_ARVALID, .m_axi_ARREADY,
		.m_axi_RDATA, .m_axi_RRESP, .m_axi_RLAST, .m_axi_RVALID, .m_axi_RREADY,
		.out_V_TDATA(in0_V_TDATA), .out_V_TVALID(in0_V_TVALID), .out_V_TREADY(in0_V_TREADY)
	);
	dma_write #(.BYTES(OUT_BYTES), .FRAME(OUT_FRAME), .DATA_BITS(DATA_BITS), .ADDRESS_BITS(ADDRESS_BITS)) odma0 (
		.ap_clk, .ap_rst_n(rst_n), .start(start[1]), .address(address[1]), .frames(frames[1]), .done(done[1]),
		.error(error[1]), .error_address(place[1]), .m_axi_AWADDR, .m_axi_AWLEN, .m_axi_AWVALID, .m_axi_AWREADY,
		.m_axi_WDATA, .m_axi_WSTRB, .m_axi_WLAST, .m_axi_WVALID, .m_axi_WREADY, .m_axi_BRESP, .m_axi_BVALID, .m_axi_BREADY,
		.in_V_TDATA(out0_V_TDATA), .in_V_TVALID(out0_V_TVALID), .in_V_TREADY(out0_V_TREADY)
	);
endmodule
