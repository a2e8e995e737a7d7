// For simulation: the chip of a Zynq-7000 (pleinair_top) with the ports of its processing system led out, so that a program
// (board.cpp) is processor and memory. Serves the RTL, and netlists of pleinair_top whose processing system is called ps7.
module bench (
	input  logic ap_clk,
	input  logic ap_rst_n,
	input  logic [11:0] s_axi_AWID, s_axi_ARID,
	input  logic [31:0] s_axi_AWADDR, s_axi_ARADDR,
	input  logic [3:0] s_axi_AWLEN, s_axi_ARLEN,
	input  logic [2:0] s_axi_AWSIZE, s_axi_ARSIZE,
	input  logic [1:0] s_axi_AWBURST, s_axi_ARBURST,
	input  logic s_axi_AWVALID, s_axi_ARVALID,
	output logic s_axi_AWREADY, s_axi_ARREADY,
	input  logic [31:0] s_axi_WDATA,
	input  logic [3:0] s_axi_WSTRB,
	input  logic s_axi_WVALID,
	output logic s_axi_WREADY,
	output logic [11:0] s_axi_BID, s_axi_RID,
	output logic [1:0] s_axi_BRESP, s_axi_RRESP,
	output logic s_axi_BVALID, s_axi_RVALID, s_axi_RLAST,
	input  logic s_axi_BREADY, s_axi_RREADY,
	output logic [31:0] s_axi_RDATA,
	output logic [31:0] m_axi_ARADDR, m_axi_AWADDR,
	output logic [3:0] m_axi_ARLEN, m_axi_AWLEN,
	output logic m_axi_ARVALID, m_axi_AWVALID, m_axi_WVALID, m_axi_WLAST, m_axi_RREADY, m_axi_BREADY,
	input  logic m_axi_ARREADY, m_axi_AWREADY, m_axi_WREADY, m_axi_RVALID, m_axi_RLAST, m_axi_BVALID,
	input  logic [63:0] m_axi_RDATA,
	input  logic [1:0] m_axi_RRESP, m_axi_BRESP,
	output logic [63:0] m_axi_WDATA,
	output logic [7:0] m_axi_WSTRB
);
	pleinair_top top ();
	assign s_axi_AWREADY = top.ps7.MAXIGP0AWREADY;
	assign s_axi_ARREADY = top.ps7.MAXIGP0ARREADY;
	assign s_axi_WREADY = top.ps7.MAXIGP0WREADY;
	assign s_axi_BID = top.ps7.MAXIGP0BID;
	assign s_axi_BRESP = top.ps7.MAXIGP0BRESP;
	assign s_axi_BVALID = top.ps7.MAXIGP0BVALID;
	assign s_axi_RID = top.ps7.MAXIGP0RID;
	assign s_axi_RDATA = top.ps7.MAXIGP0RDATA;
	assign s_axi_RRESP = top.ps7.MAXIGP0RRESP;
	assign s_axi_RLAST = top.ps7.MAXIGP0RLAST;
	assign s_axi_RVALID = top.ps7.MAXIGP0RVALID;
	assign m_axi_ARADDR = top.ps7.SAXIHP0ARADDR;
	assign m_axi_ARLEN = top.ps7.SAXIHP0ARLEN;
	assign m_axi_ARVALID = top.ps7.SAXIHP0ARVALID;
	assign m_axi_AWADDR = top.ps7.SAXIHP0AWADDR;
	assign m_axi_AWLEN = top.ps7.SAXIHP0AWLEN;
	assign m_axi_AWVALID = top.ps7.SAXIHP0AWVALID;
	assign m_axi_WDATA = top.ps7.SAXIHP0WDATA;
	assign m_axi_WSTRB = top.ps7.SAXIHP0WSTRB;
	assign m_axi_WLAST = top.ps7.SAXIHP0WLAST;
	assign m_axi_WVALID = top.ps7.SAXIHP0WVALID;
	assign m_axi_RREADY = top.ps7.SAXIHP0RREADY;
	assign m_axi_BREADY = top.ps7.SAXIHP0BREADY;
endmodule

// The processing system: what it drives comes from outside.
module PS7 (
	output logic [3:0] FCLKCLK, FCLKRESETN,
	input  logic [3:0] FCLKCLKTRIGN,
	input  logic FPGAIDLEN, MAXIGP0ACLK, SAXIHP0ACLK,
	output logic [31:0] MAXIGP0AWADDR, MAXIGP0ARADDR, MAXIGP0WDATA,
	output logic [11:0] MAXIGP0AWID, MAXIGP0ARID,
	output logic [3:0] MAXIGP0AWLEN, MAXIGP0ARLEN, MAXIGP0WSTRB,
	output logic [1:0] MAXIGP0AWSIZE, MAXIGP0ARSIZE, MAXIGP0AWBURST, MAXIGP0ARBURST,
	output logic MAXIGP0AWVALID, MAXIGP0ARVALID, MAXIGP0WVALID, MAXIGP0BREADY, MAXIGP0RREADY,
	input  logic MAXIGP0AWREADY, MAXIGP0ARREADY, MAXIGP0WREADY, MAXIGP0BVALID, MAXIGP0RVALID, MAXIGP0RLAST,
	input  logic [11:0] MAXIGP0BID, MAXIGP0RID,
	input  logic [1:0] MAXIGP0BRESP, MAXIGP0RRESP,
	input  logic [31:0] MAXIGP0RDATA,
	input  logic [31:0] SAXIHP0ARADDR, SAXIHP0AWADDR,
	input  logic [3:0] SAXIHP0ARLEN, SAXIHP0AWLEN, SAXIHP0ARCACHE, SAXIHP0AWCACHE, SAXIHP0ARQOS, SAXIHP0AWQOS,
	input  logic [5:0] SAXIHP0ARID, SAXIHP0AWID, SAXIHP0WID,
	input  logic [1:0] SAXIHP0ARSIZE, SAXIHP0AWSIZE, SAXIHP0ARBURST, SAXIHP0AWBURST, SAXIHP0ARLOCK, SAXIHP0AWLOCK,
	input  logic [2:0] SAXIHP0ARPROT, SAXIHP0AWPROT,
	input  logic SAXIHP0ARVALID, SAXIHP0AWVALID, SAXIHP0WVALID, SAXIHP0WLAST, SAXIHP0RREADY, SAXIHP0BREADY,
	input  logic SAXIHP0RDISSUECAP1EN, SAXIHP0WRISSUECAP1EN,
	input  logic [63:0] SAXIHP0WDATA,
	input  logic [7:0] SAXIHP0WSTRB,
	output logic SAXIHP0ARREADY, SAXIHP0AWREADY, SAXIHP0WREADY, SAXIHP0RVALID, SAXIHP0RLAST, SAXIHP0BVALID,
	output logic [63:0] SAXIHP0RDATA,
	output logic [1:0] SAXIHP0RRESP, SAXIHP0BRESP
);
	assign FCLKCLK = {3'd0, bench.ap_clk};
	assign FCLKRESETN = {3'd0, bench.ap_rst_n};
	assign MAXIGP0AWADDR = bench.s_axi_AWADDR;
	assign MAXIGP0ARADDR = bench.s_axi_ARADDR;
	assign MAXIGP0WDATA = bench.s_axi_WDATA;
	assign MAXIGP0AWID = bench.s_axi_AWID;
	assign MAXIGP0ARID = bench.s_axi_ARID;
	assign MAXIGP0AWLEN = bench.s_axi_AWLEN;
	assign MAXIGP0ARLEN = bench.s_axi_ARLEN;
	assign MAXIGP0WSTRB = bench.s_axi_WSTRB;
	assign MAXIGP0AWSIZE = bench.s_axi_AWSIZE[1:0];
	assign MAXIGP0ARSIZE = bench.s_axi_ARSIZE[1:0];
	assign MAXIGP0AWBURST = bench.s_axi_AWBURST;
	assign MAXIGP0ARBURST = bench.s_axi_ARBURST;
	assign MAXIGP0AWVALID = bench.s_axi_AWVALID;
	assign MAXIGP0ARVALID = bench.s_axi_ARVALID;
	assign MAXIGP0WVALID = bench.s_axi_WVALID;
	assign MAXIGP0BREADY = bench.s_axi_BREADY;
	assign MAXIGP0RREADY = bench.s_axi_RREADY;
	assign SAXIHP0ARREADY = bench.m_axi_ARREADY;
	assign SAXIHP0AWREADY = bench.m_axi_AWREADY;
	assign SAXIHP0WREADY = bench.m_axi_WREADY;
	assign SAXIHP0RVALID = bench.m_axi_RVALID;
	assign SAXIHP0RLAST = bench.m_axi_RLAST;
	assign SAXIHP0RDATA = bench.m_axi_RDATA;
	assign SAXIHP0RRESP = bench.m_axi_RRESP;
	assign SAXIHP0BVALID = bench.m_axi_BVALID;
	assign SAXIHP0BRESP = bench.m_axi_BRESP;
endmodule

`ifndef NETLIST
module BUFG (input logic I, output logic O);
	assign O = I;
endmodule
`endif
