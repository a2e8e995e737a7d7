// A station of light: counts frames and pixels, holds the registers, and tells which bank of the table a word takes.
//
// A light is taken at the first word of the frame whose number stands in APPLY, and by that frame whole. Until the first one
// after a reset, words take the average light, bank 2, which nobody writes. The table is written in the bank 0 or 1 that is not
// in use, and not while a light waits there for its frame. Reading a word of the table for the bus keeps the stream waiting
// for one cycle; metering keeps it waiting while a word's channels are summed, METER at a time. Otherwise nothing waits here.
//
// A request is {sums, registers, table, write, word address [12 bits], data [32 bits]}; one of the first three is high
// until the answer, {done, error, data}, has been given for one cycle, and low for two cycles before the next; it may stay
// high after the answer. What arrives is kept for a cycle before it is looked at, and so is what is to be written to the table:
// stations lie all over the chip, far from the processor.
module light_station #(
	int unsigned PE = 1,
	int unsigned CF = 1,
	int unsigned HEIGHT = 4,
	int unsigned WIDTH = 4,
	int unsigned METER = 1,

	localparam int unsigned WW = (CF > 1)? $clog2(CF) : 1,
	localparam int unsigned LANES = (PE > 1)? $clog2(PE) : 1
)(
	input  logic ap_clk,
	input  logic ap_rst_n,

	// The stream
	input  logic enter,          // a word enters
	output logic hold,           // none may
	output logic [1:0] bank,     // what the word that enters takes; 2 is the average light, which cannot be written
	output logic spare,          // the bank, 0 or 1, that is not in use
	output logic [WW-1:0] word,  // its number in the pixel
	output logic [3:0] mark,     // its frame is metered, its pixel counts, is the frame's first, it is the frame's last word

	// The table
	output logic [WW-1:0] bus_word,
	output logic bus_read,
	output logic [2:0] bus_write,
	output logic [LANES-1:0] bus_lane,
	output logic [31:0] bus_data,
	input  logic [31:0] bus_answer,  // one cycle after bus_read
	output logic [1:0] bus_field,

	// The sums
	output logic [9:0] sums_channel,
	input  logic [31:0] sums_answer, // one cycle after the channel
	input  logic metered,            // all of a frame's are there

	input  logic [47:0] light_request,
	output logic [33:0] light_answer
);
	localparam int unsigned CHANNELS = PE*CF;
	localparam int unsigned RB = (HEIGHT > 1)? $clog2(HEIGHT) : 1;
	localparam int unsigned CB = (WIDTH > 1)? $clog2(WIDTH) : 1;
	// Cycles for a word of a metered frame; a channel's sums come round every fourth cycle at most.
	localparam int unsigned TURNS = METER == 0? 1 : PE/METER;
	localparam int unsigned PAUSE = METER == 0? 1 : (TURNS*CF >= 4)? TURNS : (4+CF-1)/CF;
	localparam int unsigned PB = (PAUSE > 1)? $clog2(PAUSE) : 1;

	// ---- The frame
	logic [RB-1:0] row;
	logic [CB-1:0] column;
	logic start;                 // the next word is a frame's first
	logic [31:0] frames;         // begun: the number of the next
	wire first_pixel = row == 0 && column == 0;
	wire last_word = word == WW'(CF-1);
	wire last_column = column == CB'(WIDTH-1);
	wire last_row = row == RB'(HEIGHT-1);
	wire begins = enter && start;
	always_ff @(posedge ap_clk) begin
		if(!ap_rst_n) begin
			word <= '0;
			column <= '0;
			row <= '0;
			start <= 1'b1;
			frames <= '0;
		end
		else begin
			if(enter) begin
				word <= last_word? '0 : word + 1'b1;
				if(last_word) column <= last_column? '0 : column + 1'b1;
				if(last_word && last_column) row <= last_row? '0 : row + 1'b1;
				start <= last_word && last_column && last_row;
			end
			if(begins) frames <= frames + 1;
		end
	end

	// ---- Requests
	logic ask_sums, ask_register, ask_table, write;
	logic [11:0] address;
	logic [31:0] data;
	logic seen;                  // the request was there a cycle before
	wire asks = ask_sums || ask_register || ask_table;
	wire asked = asks && !seen;
	always_ff @(posedge ap_clk) begin
		{write, address, data} <= light_request[44:0];
		if(!ap_rst_n) {ask_sums, ask_register, ask_table, seen} <= '0;
		else begin
			{ask_sums, ask_register, ask_table} <= light_request[47:45];
			seen <= asks;
		end
	end
	wire [9:0] channel = address[11:2];
	logic [1:0] reading;         // of the table or the sums: cycles since the request
	logic done, error;
	logic [31:0] answer;
	assign light_answer = {done, error, answer};
	wire exists = 11'(channel) < 11'(CHANNELS);
	wire set = asked && ask_register && write;

	wire [WW-1:0] its_word;
	wire [LANES-1:0] its_lane;
	always_ff @(posedge ap_clk) begin
		bus_word <= its_word;
		bus_lane <= its_lane;
	end
	assign bus_field = address[1:0];
	assign bus_data = data;
	assign sums_channel = channel;
	if(CF == 1) begin : one_word
		assign its_word = '0;
		assign its_lane = LANES'(channel);
	end
	else if((PE & (PE-1)) == 0) begin : bits
		assign its_word = WW'(channel >> $clog2(PE));
		assign its_lane = (PE > 1)? LANES'(channel) : '0;
	end
	else begin : tables
		logic [WW-1:0] words[1 << $clog2(CHANNELS)];
		logic [LANES-1:0] places[1 << $clog2(CHANNELS)];
		initial for(int unsigned c = 0; c < (1 << $clog2(CHANNELS)); c++) begin
			words[c] = WW'(c / PE);
			places[c] = LANES'(c % PE);
		end
		assign its_word = words[channel[$clog2(CHANNELS)-1:0]];
		assign its_lane = places[channel[$clog2(CHANNELS)-1:0]];
	end

	// ---- The light: the bank changes with a frame's first word
	wire [31:0] ahead = data - frames;
	wire past = ahead[31] || (ahead == 0 && begins); // the frame named has begun
	logic [31:0] apply;
	logic armed, due, late, refused, used, lit; // lit: a light has been taken since the reset
	wire set_apply = set && address[2:0] == 1;
	wire table_write = asked && ask_table && write;
	wire reached = apply == frames;
	assign bank = {!lit && !(start && due), used ^ (start && due)}; // used is 0 until the first light
	assign spare = !used;
	initial bus_write = '0; // nothing is written before the first reset
	always_ff @(posedge ap_clk) begin
		if(set_apply) apply <= data;
		// Nothing is armed, so that no bank changes in the cycle between.
		bus_write <= {3{ap_rst_n && table_write && exists && !armed}}
			& {bus_field == 2, bus_field == 1, bus_field == 0};
		if(!ap_rst_n) begin
			{armed, due, late, refused, used, lit} <= '0;
		end
		else begin
			used <= used ^ (begins && due);
			lit <= lit || (begins && due);
			due <= armed && reached && !begins && !set_apply;
			if(set_apply) begin
				armed <= !past;
				late <= past;
				refused <= 1'b0;
			end
			else begin
				// A frame that begins while its light is being armed goes without it.
				if(begins && reached) armed <= 1'b0;
				if(begins && reached && armed && !due) late <= 1'b1;
				if(table_write && armed) refused <= 1'b1;
			end
		end
	end

	// ---- Metering
	logic [31:0] meter;
	logic meter_late, complete;
	logic [31:0] rows, columns;
	logic [PB-1:0] pause;
	if(METER > 0) begin : some_metering
		logic meter_armed, meter_due, active;
		wire set_meter = set && address[2:0] == 5;
		wire meter_reached = meter == frames;
		wire metering = start? meter_due : active;
		wire counted = 17'(row) >= 17'(rows[15:0]) && 17'(row) < 17'(rows[31:16])
			&& 17'(column) >= 17'(columns[15:0]) && 17'(column) < 17'(columns[31:16]);
		assign mark = {metering, counted, first_pixel, last_word && last_column && last_row};
		always_ff @(posedge ap_clk) begin
			if(set_meter) meter <= data;
			if(set && address[2:0] == 3) rows <= data;
			if(set && address[2:0] == 4) columns <= data;
			if(!ap_rst_n) begin
				{meter_armed, meter_due, meter_late, complete, active} <= '0;
				pause <= '0;
			end
			else begin
				if(enter && start) active <= meter_due;
				meter_due <= meter_armed && meter_reached && !begins && !set_meter;
				if(set_meter) begin
					meter_armed <= !past;
					meter_late <= past;
					complete <= 1'b0;
				end
				else begin
					if(begins && meter_reached) meter_armed <= 1'b0;
					if(begins && meter_reached && meter_armed && !meter_due) meter_late <= 1'b1;
					if(metered) complete <= 1'b1;
				end
				if(enter && metering) pause <= PB'(PAUSE-1);
				else if(pause != 0) pause <= pause - 1'b1;
			end
		end
	end
	else begin : no_metering
		assign mark = '0;
		assign {meter, rows, columns} = '0;
		assign {meter_late, complete} = '0;
		assign pause = '0;
	end
	assign bus_read = reading == 1 && ask_table;
	assign hold = pause != 0 || bus_read;

	// ---- Answers
	always_ff @(posedge ap_clk) begin
		done <= 1'b0;
		error <= 1'b0;
		answer <= '0;
		if(!ap_rst_n) reading <= '0;
		else if(reading == 2) begin
			reading <= '0;
			done <= 1'b1;
			answer <= ask_table? bus_answer : sums_answer;
		end
		else if(reading != 0) reading <= reading + 1'b1;
		else if(asked && !write && exists && (ask_table || (ask_sums && METER > 0))) reading <= 2'd1;
		else if(asked) begin
			done <= 1'b1;
			if(ask_table) error <= !exists;
			else if(ask_sums) error <= 1'b1;
			else if(write) error <= !(address[2:0] == 1 || (METER > 0 && (address[2:0] inside {3, 4, 5})));
			else unique case(address[2:0])
				0: answer <= frames;
				1: answer <= apply;
				2: answer <= 32'({refused, late, armed});
				3: answer <= rows;
				4: answer <= columns;
				5: answer <= meter;
				6: answer <= 32'({meter_late, complete});
				7: answer <= '0;
			endcase
		end
	end

`ifndef SYNTHESIS
	initial begin
		if(HEIGHT*WIDTH*CF < 4) $error("light_station: a frame of %0d words, fewer than 4", HEIGHT*WIDTH*CF);
		if(HEIGHT > 65535 || WIDTH > 65535) $error("light_station: a frame of %0d x %0d", WIDTH, HEIGHT);
	end
`endif
endmodule
