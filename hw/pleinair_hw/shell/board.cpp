// A processor and its memory around an accelerator with its shell (board.py).
//
//     simulate SEED STALLS MAX_CYCLES BASE MASK
//
// Follows program.txt, a line after the other: `w ADDRESS VALUE` writes a register, `r ADDRESS 0` reads one, `p ADDRESS VALUE` reads one
// until it holds the value, `b ADDRESS VALUE` until it has any of its bits, `f NUMBER CODE` lets the burst of that number
// (reads and writes together, from 0) be answered with CODE. Of a register's address the bits in MASK reach the module. memory.bin lies at BASE; what is written elsewhere, or read, is
// answered with DECERR. In STALLS per cent of cycles whoever may wait does. Writes replies.bin (a uint64 a line), memory.out
// and result.json; ends with status 3 when a rule of AXI is broken or MAX_CYCLES are over.
#include "Top.h"
#include "verilated.h"
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

static uint64_t cycle = 0;
[[noreturn]] static void fail(const std::string& why) {
    std::printf("stopped: %s in cycle %" PRIu64 "\n", why.c_str(), cycle);
    std::fflush(stdout);
    std::_Exit(3);
}
static void check(bool good, const char* why) {
    if(!good) fail(std::string("error: ") + why);
}
void vl_stop(const char* file, int line, const char*) { fail("$error at " + std::string(file) + ":" + std::to_string(line)); }
void vl_finish(const char* file, int line, const char*) { fail("$finish at " + std::string(file) + ":" + std::to_string(line)); }
void vl_fatal(const char* file, int line, const char*, const char* why) { fail(why + std::string(file) + ":" + std::to_string(line)); }

static uint64_t state;
static uint64_t any() { // splitmix64
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static unsigned stalls;
static bool goes() { return !stalls || any() % 100 >= stalls; }

// The clock of pumped products, of twice the rate: its every second rising edge is the clock's.
template <class T> static auto set_fast(T& top, int level, int) -> decltype(top.ap_clk2x, bool()) { return top.ap_clk2x = level, true; }
template <class T> static bool set_fast(T&, int, long) { return false; } // there is none
template <class T> static void rise(T& top) {
    set_fast(top, 1, 0);
    top.ap_clk = 1;
    top.eval();
}
template <class T> static void fall(T& top) { // from behind the rising edge to before the next
    if(set_fast(top, 0, 0)) {
        top.eval();
        set_fast(top, 1, 0);
    }
    top.ap_clk = 0;
    top.eval();
    if(set_fast(top, 0, 0)) top.eval();
}

struct Channel { // what is offered stays as it is until it is taken
    const char* name;
    bool held = false;
    uint64_t was[3] = {};
    void look(bool valid, bool ready, uint64_t a, uint64_t b = 0, uint64_t c = 0) {
        if(held && (!valid || was[0] != a || was[1] != b || was[2] != c)) fail(std::string("error: ") + name + " changed before it was taken");
        held = valid && !ready;
        was[0] = a, was[1] = b, was[2] = c;
    }
};
struct Burst {
    uint64_t address;
    unsigned beats, delay, error;
};
struct Line {
    char kind;
    uint64_t a, b;
};

int main(int argc, char** argv) {
    auto number = [&](int i) { return i < argc ? std::strtoull(argv[i], nullptr, 10) : 0ull; };
    state = number(1);
    stalls = number(2);
    const uint64_t max_cycles = number(3), base = number(4), mask = number(5);
    std::vector<uint8_t> memory;
    std::vector<Line> program;
    std::map<uint64_t, unsigned> faults;
    if(FILE* file = std::fopen("memory.bin", "rb")) {
        for(int c; (c = std::fgetc(file)) != EOF;) memory.push_back(c);
        std::fclose(file);
    }
    if(FILE* file = std::fopen("program.txt", "r")) {
        Line line;
        while(std::fscanf(file, " %c %" SCNu64 " %" SCNu64, &line.kind, &line.a, &line.b) == 3) {
            if(line.kind == 'f') faults[line.a] = line.b;
            else program.push_back(line);
        }
        std::fclose(file);
    }
    Verilated::randReset(2);
    Verilated::randSeed(int(state % 0x3fffffff) + 1);
    Top& top = *new Top;
    auto clock = [&] {
        rise(top);
        cycle++;
    };
    top.s_axi_AWVALID = top.s_axi_WVALID = top.s_axi_ARVALID = top.m_axi_RVALID = top.m_axi_BVALID = 0;
    top.ap_rst_n = 0;
    for(int k = 0; k < 64; k++) {
        if(k == 40) top.ap_rst_n = 1;
        fall(top);
        clock();
    }
    cycle = 0;

    std::deque<Burst> reads, writes, answers;
    std::deque<std::pair<uint64_t, std::pair<unsigned, bool>>> beats;
    uint64_t bursts = 0;
    unsigned read_beat = 0, write_beat = 0;
    bool r_valid = false, b_valid = false;
    Channel ar{"AR"}, aw{"AW"}, w{"W"}, s_b{"B"}, s_r{"R"};
    std::vector<uint64_t> replies;
    size_t at = 0;
    bool awvalid = false, wvalid = false, arvalid = false, aw_done = false, w_done = false, ar_done = false;
    unsigned id = any() & 0xfff;
    auto inside = [&](const Burst& burst) {
        return burst.address >= base && burst.address - base + 8 * burst.beats <= memory.size();
    };
    while(at < program.size()) {
        if(cycle >= max_cycles)
            fail("line " + std::to_string(at) + " of the program has not ended");
        const Line& line = program[at];
        const bool writing = line.kind == 'w';
        // what is offered
        const bool arready = goes() && reads.size() < 8, awready = goes() && writes.size() < 4, wready = goes() && beats.size() < 8;
        if(!r_valid && !reads.empty()) {
            if(reads.front().delay) reads.front().delay--;
            else r_valid = goes();
        }
        if(!b_valid && !answers.empty()) {
            if(answers.front().delay) answers.front().delay--;
            else b_valid = goes();
        }
        uint64_t data = any();
        if(r_valid && inside(reads.front())) std::memcpy(&data, &memory[reads.front().address - base + 8 * read_beat], 8);
        const bool last = r_valid && read_beat + 1 == reads.front().beats;
        top.m_axi_ARREADY = arready;
        top.m_axi_AWREADY = awready;
        top.m_axi_WREADY = wready;
        top.m_axi_RVALID = r_valid;
        // The same data as long as it is offered, noise else
        static uint64_t shown;
        static bool shows = false;
        if(!shows) shown = data;
        shows = r_valid;
        if(r_valid && inside(reads.front())) shown = data;
        top.m_axi_RDATA = shown;
        top.m_axi_RRESP = r_valid ? reads.front().error : any() & 3;
        top.m_axi_RLAST = last;
        top.m_axi_BVALID = b_valid;
        top.m_axi_BRESP = b_valid ? answers.front().error : any() & 3;
        if(writing) {
            awvalid = awvalid || (!aw_done && goes());
            wvalid = wvalid || (!w_done && goes());
        }
        else arvalid = arvalid || (!ar_done && goes());
        const bool bready = writing && goes(), rready = !writing && goes();
        top.s_axi_AWADDR = top.s_axi_ARADDR = line.a & mask;
        top.s_axi_AWID = top.s_axi_ARID = id;
        top.s_axi_AWLEN = top.s_axi_ARLEN = 0;
        top.s_axi_AWSIZE = top.s_axi_ARSIZE = 2;
        top.s_axi_AWBURST = top.s_axi_ARBURST = 1;
        top.s_axi_WDATA = line.b;
        top.s_axi_WSTRB = 15;
        top.s_axi_AWVALID = awvalid;
        top.s_axi_WVALID = wvalid;
        top.s_axi_ARVALID = arvalid;
        top.s_axi_BREADY = bready;
        top.s_axi_RREADY = rready;
        fall(top);
        // what happens
        ar.look(top.m_axi_ARVALID, arready, top.m_axi_ARADDR, top.m_axi_ARLEN);
        aw.look(top.m_axi_AWVALID, awready, top.m_axi_AWADDR, top.m_axi_AWLEN);
        w.look(top.m_axi_WVALID, wready, top.m_axi_WDATA, top.m_axi_WSTRB, top.m_axi_WLAST);
        s_b.look(top.s_axi_BVALID, bready, top.s_axi_BID, top.s_axi_BRESP);
        s_r.look(top.s_axi_RVALID, rready, top.s_axi_RID, top.s_axi_RRESP, top.s_axi_RDATA);
        for(int k = 0; k < 2; k++) {
            if(!(k ? top.m_axi_AWVALID && awready : top.m_axi_ARVALID && arready)) continue;
            Burst burst{k ? top.m_axi_AWADDR : top.m_axi_ARADDR, unsigned(k ? top.m_axi_AWLEN : top.m_axi_ARLEN) + 1, stalls ? unsigned(any() % (2 * stalls)) : 3u, 0};
            check(burst.beats <= 16 && burst.address / 4096 == (burst.address + 8 * burst.beats - 1) / 4096, "a burst that is too long or crosses 4 KiB");
            const auto fault = faults.find(bursts++);
            burst.error = fault != faults.end() ? fault->second : inside(burst) ? 0 : 3;
            (k ? writes : reads).push_back(burst);
        }
        if(r_valid && top.m_axi_RREADY) {
            r_valid = shows = false;
            read_beat++;
            if(last) {
                read_beat = 0;
                reads.pop_front();
            }
        }
        if(top.m_axi_WVALID && wready) beats.push_back({top.m_axi_WDATA, {top.m_axi_WSTRB, top.m_axi_WLAST}});
        while(!writes.empty() && !beats.empty()) {
            Burst& burst = writes.front();
            const uint64_t place = burst.address - base + 8 * write_beat++;
            check(beats.front().second.second == (write_beat == burst.beats), "WLAST at the wrong beat");
            for(int k = 0; k < 8; k++)
                if(!burst.error && beats.front().second.first >> k & 1) memory[place + k] = beats.front().first >> 8 * k;
            beats.pop_front();
            if(write_beat == burst.beats) {
                write_beat = 0;
                answers.push_back(burst);
                writes.pop_front();
            }
        }
        if(b_valid && top.m_axi_BREADY) {
            b_valid = false;
            answers.pop_front();
        }
        if(awvalid && top.s_axi_AWREADY) aw_done = true, awvalid = false;
        if(wvalid && top.s_axi_WREADY) w_done = true, wvalid = false;
        if(arvalid && top.s_axi_ARREADY) ar_done = true, arvalid = false;
        const bool answered = writing ? top.s_axi_BVALID && bready : top.s_axi_RVALID && rready;
        if(answered) {
            check(writing ? top.s_axi_BID == id : top.s_axi_RID == id && top.s_axi_RLAST, "an answer to another access");
            const uint64_t value = writing ? 0 : top.s_axi_RDATA, response = writing ? top.s_axi_BRESP : top.s_axi_RRESP;
            if(line.kind == 'w' || line.kind == 'r' || response || (line.kind == 'p' && value == line.b) || (line.kind == 'b' && value & line.b)) {
                replies.push_back(response << 32 | value);
                at++;
            }
            aw_done = w_done = ar_done = false;
            id = any() & 0xfff;
        }
        clock();
    }
    auto write = [&](const char* name, const void* bytes, size_t count) {
        FILE* file = std::fopen(name, "wb");
        if(!file || (count && std::fwrite(bytes, count, 1, file) != 1) || std::fclose(file)) fail(std::string(name) + " cannot be written");
    };
    write("replies.bin", replies.data(), 8 * replies.size());
    write("memory.out", memory.data(), memory.size());
    const std::string told = "{\"cycles\": " + std::to_string(cycle) + ", \"bursts\": " + std::to_string(bursts) + "}";
    write("result.json", told.data(), told.size());
    std::_Exit(0);
}
