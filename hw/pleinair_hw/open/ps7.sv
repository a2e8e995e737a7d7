// A Zynq-7000's processing system for simulation, behind the ports that Yosys' library declares (gates.py writes the
// head). It acts as processor and memory: the program (program.hex: operation, address, data, 72 bits a line) writes
// registers through GP0; words of the bench's input stream answer reads through HP0, words written through HP0 leave
// by its output stream. It stops with $error where a rule of AXI or the order of addresses is broken.

	localparam [31:0] FROM = 32'h10000000, TO = 32'h18000000;
	localparam WRITE = 8'd1, AWAIT = 8'd2;

	wire clk = MAXIGP0ACLK;
	assign FCLKCLK = {3'b000, bench.ap_clk};
	reg [3:0] wake = 0;
	always @(posedge clk) wake <= bench.ap_rst_n? (&wake? wake : wake + 1) : 0;
	wire up = &wake;
	assign FCLKRESETN = {3'b111, up};

	// The program: one access at a time.
	reg [71:0] steps [0:16383];
	initial $readmemh("program.hex", steps);
	reg [13:0] at = 0;
	wire [7:0]  operation = steps[at][71:64];
	wire [31:0] address = steps[at][63:32], data = steps[at][31:0];
	reg busy = 0, aw = 0, w = 0, ar = 0;
	assign MAXIGP0AWVALID = aw; assign MAXIGP0AWADDR = address; assign MAXIGP0AWID = 12'h5a5;
	assign MAXIGP0AWLEN = 0; assign MAXIGP0AWSIZE = 2; assign MAXIGP0AWBURST = 1; assign MAXIGP0AWLOCK = 0;
	assign MAXIGP0AWCACHE = 0; assign MAXIGP0AWPROT = 0; assign MAXIGP0AWQOS = 0;
	assign MAXIGP0WVALID = w; assign MAXIGP0WDATA = data; assign MAXIGP0WSTRB = 4'hf; assign MAXIGP0WLAST = 1;
	assign MAXIGP0WID = 12'h5a5; assign MAXIGP0BREADY = 1;
	assign MAXIGP0ARVALID = ar; assign MAXIGP0ARADDR = address; assign MAXIGP0ARID = 12'h3c3;
	assign MAXIGP0ARLEN = 0; assign MAXIGP0ARSIZE = 2; assign MAXIGP0ARBURST = 1; assign MAXIGP0ARLOCK = 0;
	assign MAXIGP0ARCACHE = 0; assign MAXIGP0ARPROT = 0; assign MAXIGP0ARQOS = 0; assign MAXIGP0RREADY = 1;
	always @(posedge clk) begin
		if (!bench.ap_rst_n) begin at <= 0; busy <= 0; aw <= 0; w <= 0; ar <= 0; end
		else if (up) begin
			if (aw && MAXIGP0AWREADY) aw <= 0;
			if (w && MAXIGP0WREADY) w <= 0;
			if (ar && MAXIGP0ARREADY) ar <= 0;
			if (!busy && operation == WRITE) begin busy <= 1; aw <= 1; w <= 1; end
			if (!busy && operation == AWAIT) begin busy <= 1; ar <= 1; end
			if (MAXIGP0BVALID) begin
				if (MAXIGP0BID !== 12'h5a5 || MAXIGP0BRESP !== 0) $error("GP0: a write of %h is answered by %h, %h", address, MAXIGP0BID, MAXIGP0BRESP);
				busy <= 0; at <= at + 1;
			end
			if (MAXIGP0RVALID) begin
				if (MAXIGP0RID !== 12'h3c3 || MAXIGP0RRESP !== 0) $error("GP0: a read of %h is answered by %h, %h", address, MAXIGP0RID, MAXIGP0RRESP);
				busy <= 0;
				if ((MAXIGP0RDATA & data) == data) at <= at + 1;
			end
		end
	end

	// Reads through HP0: up to four bursts wait, each begins some cycles after it was asked for.
	reg [31:0] next_read = FROM, next_write = TO;
	reg [4:0] left = 0;
	reg [3:0] delay = 0;
	reg [4:0] lengths [0:3];
	reg [5:0] ids [0:3];
	reg [1:0] head = 0, tail = 0;
	reg [2:0] waiting = 0;
	assign SAXIHP0ARREADY = up && waiting < 4;
	wire asked = SAXIHP0ARVALID && SAXIHP0ARREADY;
	wire begun = waiting != 0 && left == 0;
	reg [5:0] id = 0;
	assign SAXIHP0RVALID = left != 0 && delay == 0 && bench.in0_V_TVALID;
	assign SAXIHP0RDATA = bench.in0_V_TDATA;
	assign SAXIHP0RLAST = left == 1; assign SAXIHP0RID = id; assign SAXIHP0RRESP = 0;
	wire read = SAXIHP0RVALID && SAXIHP0RREADY;
	wire in_ready = left != 0 && delay == 0 && SAXIHP0RREADY;
	always @(posedge clk) begin
		if (!bench.ap_rst_n) begin next_read <= FROM; left <= 0; head <= 0; tail <= 0; waiting <= 0; end
		else begin
			waiting <= waiting + asked - begun;
			if (asked) begin
				if (SAXIHP0ARADDR !== next_read) $error("HP0: reads %h, not %h", SAXIHP0ARADDR, next_read);
				if (SAXIHP0ARADDR[31:12] != ((SAXIHP0ARADDR + 8 * SAXIHP0ARLEN) >> 12)) $error("HP0: a read from %h crosses 4 KiB", SAXIHP0ARADDR);
				if (SAXIHP0ARSIZE != 3 || SAXIHP0ARBURST != 1) $error("HP0: a read of another kind");
				next_read <= next_read + 8 * (SAXIHP0ARLEN + 1);
				lengths[head] <= SAXIHP0ARLEN + 1; ids[head] <= SAXIHP0ARID; head <= head + 1;
			end
			if (begun) begin left <= lengths[tail]; id <= ids[tail]; tail <= tail + 1; delay <= 12; end
			else if (delay != 0) delay <= delay - 1;
			if (read) left <= left - 1;
		end
	end

	// Writes through HP0: a burst at a time.
	reg open = 0, answer = 0;
	reg [4:0] todo = 0;
	reg [5:0] whose = 0;
	assign SAXIHP0AWREADY = up && !open && !answer;
	assign SAXIHP0WREADY = open && bench.out0_V_TREADY;
	assign SAXIHP0BVALID = answer; assign SAXIHP0BID = whose; assign SAXIHP0BRESP = 0;
	wire out_valid = open && SAXIHP0WVALID;
	wire [63:0] out_data;
	for (genvar i = 0; i < 8; i = i + 1) assign out_data[8*i+:8] = SAXIHP0WSTRB[i]? SAXIHP0WDATA[8*i+:8] : 8'd0;
	always @(posedge clk) begin
		if (!bench.ap_rst_n) begin open <= 0; answer <= 0; next_write <= TO; end
		else begin
			if (SAXIHP0AWVALID && SAXIHP0AWREADY) begin
				if (SAXIHP0AWADDR !== next_write) $error("HP0: writes %h, not %h", SAXIHP0AWADDR, next_write);
				if (SAXIHP0AWADDR[31:12] != ((SAXIHP0AWADDR + 8 * SAXIHP0AWLEN) >> 12)) $error("HP0: a write to %h crosses 4 KiB", SAXIHP0AWADDR);
				if (SAXIHP0AWSIZE != 3 || SAXIHP0AWBURST != 1) $error("HP0: a write of another kind");
				open <= 1; todo <= SAXIHP0AWLEN + 1; whose <= SAXIHP0AWID;
				next_write <= next_write + 8 * (SAXIHP0AWLEN + 1);
			end
			if (SAXIHP0WVALID && SAXIHP0WREADY) begin
				if (SAXIHP0WLAST !== (todo == 1)) $error("HP0: the last word of a write is marked wrongly");
				todo <= todo - 1;
				if (todo == 1) begin open <= 0; answer <= 1; end
			end
			if (answer && SAXIHP0BREADY) answer <= 0;
		end
	end
endmodule
