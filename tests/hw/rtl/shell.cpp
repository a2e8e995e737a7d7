// A processor, its memory and an accelerator around the module `shell`, with a golden model of all that it may do.
//
//     simulate SEED BURSTS STALLS ERRORS RESETS IN_BYTES IN_FRAME OUT_BYTES OUT_FRAME DATA_BITS ADDRESS_BITS MAP_BITS PORTS SIZES...
//
// Transfers of random frames from and to random addresses, until so many bursts have been answered. In STALLS per cent of
// cycles whoever may wait does. ERRORS in ten thousand bursts are answered with an error, and RESETS in ten thousand transfers are
// cut off by a reset. Each channel is held to AXI's rules: what is offered stays as it is until it is taken; no burst
// crosses 4 KiB or is longer than 16; bursts are exactly those of a transfer cut at blocks of 16 beats; WLAST, strobes, answers,
// identifiers. Prints what it did, or ends with status 3 and the rule that was broken.
#include "Top.h"
#include "verilated.h"
#include <algorithm>
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

template <class T> static void put(T& port, const uint8_t* from) { std::memcpy(&port, from, sizeof(T)); }
template <class T> static void get(const T& port, uint8_t* to) { std::memcpy(to, &port, sizeof(T)); }
template <std::size_t N> static void put(VlWide<N>& port, const uint8_t* from) { std::memcpy(port.data(), from, 4 * N); }
template <std::size_t N> static void get(const VlWide<N>& port, uint8_t* to) { std::memcpy(to, port.data(), 4 * N); }

static uint64_t state;
static uint64_t any() { // splitmix64
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static uint64_t below(uint64_t n) { return any() % n; }
static unsigned stalls;
static bool goes() { return below(100) >= stalls; }

// What is offered on a channel stays, as it is, until it is taken.
struct Channel {
    const char* name;
    bool held = false;
    std::string was;
    void look(bool valid, bool ready, const std::string& now) {
        if(held) {
            if(!valid) fail(std::string("error: ") + name + " was withdrawn before it was taken");
            if(now != was) fail(std::string("error: ") + name + " changed before it was taken");
        }
        held = valid && !ready;
        if(held) was = now;
    }
};
static std::string text(std::initializer_list<uint64_t> values) {
    return std::string(reinterpret_cast<const char*>(values.begin()), 8 * values.size());
}

struct Burst {
    uint64_t address;
    unsigned beats;
    unsigned error = 0, error_beat = 0;
    unsigned delay = 0;
};

static unsigned in_bytes, out_bytes, data_bits, address_bits, map_bits, ports, word;
static uint64_t in_frame, out_frame, errors_per, resets_per;
static std::vector<unsigned> sizes;
static Top* top;

// --- The bursts that a transfer shall have: pieces of blocks of 16 words
static std::deque<Burst> pieces(uint64_t address, uint64_t bytes) {
    std::deque<Burst> all;
    const uint64_t block = 16 * word, end = (address + bytes + word - 1) / word * word;
    while(address < end) {
        const uint64_t next = std::min(end, (address / block + 1) * block);
        all.push_back({address, unsigned((next - address) / word)});
        address = next;
    }
    return all;
}

// --- Memory: a window at `base`; what lies elsewhere may not be asked for
static std::vector<uint8_t> memory(1 << 16), shadow;
static uint64_t base;
static uint64_t bursts = 0, faults = 0;

struct Engine { // what one of them has been told, and what shall come of it
    uint64_t address = 0;
    uint32_t frames = 0;
    bool running = false, done = false;
    std::deque<Burst> expected;   // bursts still to be asked for
    unsigned error = 0;
    uint64_t error_address = 0;
    bool failed_now = false;      // an error has been answered in this transfer
};
static Engine engines[2];

static unsigned choose_error(Burst& burst) {
    if(below(10000) >= errors_per) return 0;
    burst.error_beat = below(burst.beats);
    return burst.error = 2 + below(2);
}

// Read channel
static std::deque<Burst> reads;
static unsigned read_beat = 0;
static bool r_valid = false;
static Channel ar{"AR"};
static std::vector<uint8_t> r_data(32);
// Write channel: AW and W may come in any order
static std::deque<Burst> writes, answers;
static std::deque<std::pair<std::vector<uint8_t>, std::pair<uint64_t, bool>>> beats;
static unsigned write_beat = 0;
static bool b_valid = false;
static Channel aw{"AW"}, w{"W"};
// Streams
static std::deque<uint8_t> to_give;   // bytes that the input stream shall give
static std::vector<uint8_t> out_word(256), in_word(256);
static bool out_offered = false, accelerator_runs = true;
static std::vector<uint8_t> given;    // all bytes that were taken of the output stream since the transfer's start
static Channel in_stream{"the input stream"};
static uint64_t words_in = 0, words_out = 0;

// --- AXI-lite ports: words that are written and read, sometimes with an error
struct Lite {
    std::map<uint64_t, uint32_t> words;
    bool has_address = false, has_data = false, b = false, r = false;
    unsigned wait = 0, resp = 0;
    uint64_t address = 0, writes = 0, reads = 0;
    uint32_t data = 0, strobes = 0, read = 0;
    Channel aw{"a port's AW"}, w{"a port's W"}, ar{"a port's AR"};
};
static std::vector<Lite> lite;
static bool lite_fails = false; // whether the next answer is an error

// --- The processor's port
struct Access {
    bool writes = false;
    uint64_t address = 0;
    unsigned size = 2, kind = 1, id = 0; // kind: 0 stands, 1 goes forward, 2 wraps
    std::vector<uint32_t> data, strobes;
    unsigned beats = 1;
    // answers
    std::vector<uint32_t> got;
    std::vector<unsigned> responses;
    // progress
    bool address_taken = false, answered = false, shows_address = false, shows_data = false;
    unsigned sent = 0;
};
static Access *writer = nullptr, *reader = nullptr;
static Channel s_b{"B"}, s_r{"R"};

static uint64_t bits(unsigned n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

static void tick() {
    // -- what is offered
    // memory, read
    bool arready = goes() && reads.size() < 8;
    if(!r_valid && !reads.empty()) {
        if(reads.front().delay) reads.front().delay--;
        else if(goes()) {
            Burst& burst = reads.front();
            const uint64_t at = burst.address + word * read_beat - base;
            std::memcpy(r_data.data(), &memory[at], word);
            r_valid = true;
        }
    }
    const bool r_fails = r_valid && reads.front().error && reads.front().error_beat == read_beat;
    top->m_axi_ARREADY = arready;
    top->m_axi_RVALID = r_valid;
    put(top->m_axi_RDATA, r_data.data());
    top->m_axi_RRESP = r_fails ? reads.front().error : r_valid ? below(2) : below(4); // EXOKAY is no error either
    const bool r_last = r_valid ? read_beat + 1 == reads.front().beats : below(2);
    top->m_axi_RLAST = r_last;
    // memory, write
    bool awready = goes() && writes.size() < 4, wready = goes() && beats.size() < 8;
    if(!b_valid && !answers.empty()) {
        if(answers.front().delay) answers.front().delay--;
        else b_valid = goes();
    }
    top->m_axi_AWREADY = awready;
    top->m_axi_WREADY = wready;
    top->m_axi_BVALID = b_valid;
    top->m_axi_BRESP = b_valid ? (answers.front().error ? answers.front().error : below(2)) : below(4);
    // streams
    const bool in_ready = accelerator_runs && goes();
    top->in0_V_TREADY = in_ready;
    if(!out_offered && accelerator_runs && goes()) {
        out_offered = true;
        for(unsigned k = 0; k < out_bytes; k++) out_word[k] = any();
    }
    top->out0_V_TVALID = out_offered;
    put(top->out0_V_TDATA, out_word.data());
    // ports
    uint64_t l_awready = 0, l_wready = 0, l_arready = 0, l_b = 0, l_r = 0;
    std::vector<uint8_t> l_data(8 * (ports + 2)), l_bresp(16), l_rresp(16);
    uint64_t bresps = 0, rresps = 0;
    for(unsigned k = 0; k < ports; k++) {
        Lite& p = lite[k];
        if(p.wait) p.wait--;
        if(!p.has_address && !p.b && goes()) l_awready |= 1ull << k;
        if(!p.has_data && !p.b && goes()) l_wready |= 1ull << k;
        if(!p.r && goes()) l_arready |= 1ull << k;
        if(p.b && !p.wait) l_b |= 1ull << k;
        if(p.r && !p.wait) l_r |= 1ull << k;
        bresps |= uint64_t(p.resp) << 2 * k;
        rresps |= uint64_t(p.resp) << 2 * k;
        const uint32_t value = p.r ? p.read : any();
        std::memcpy(&l_data[4 * k], &value, 4);
    }
    top->lite_AWREADY = l_awready;
    top->lite_WREADY = l_wready;
    top->lite_ARREADY = l_arready;
    top->lite_BVALID = l_b;
    top->lite_RVALID = l_r;
    top->lite_BRESP = bresps;
    top->lite_RRESP = rresps;
    put(top->lite_RDATA, l_data.data());
    // processor
    bool bready = false, rready = false;
    if(writer) {
        Access& a = *writer;
        a.shows_address = a.shows_address || (!a.address_taken && goes());
        a.shows_data = a.shows_data || (a.sent < a.beats && goes());
        bready = goes();
        top->s_axi_AWADDR = a.address & bits(map_bits);
        top->s_axi_AWID = a.id;
        top->s_axi_AWLEN = a.beats - 1;
        top->s_axi_AWSIZE = a.size;
        top->s_axi_AWBURST = a.kind;
        top->s_axi_WDATA = a.sent < a.beats ? a.data[a.sent] : any();
        top->s_axi_WSTRB = a.sent < a.beats ? a.strobes[a.sent] : any();
    }
    top->s_axi_AWVALID = writer && writer->shows_address;
    top->s_axi_WVALID = writer && writer->shows_data;
    top->s_axi_BREADY = bready;
    if(reader) {
        Access& a = *reader;
        a.shows_address = a.shows_address || (!a.address_taken && goes());
        rready = goes();
        top->s_axi_ARADDR = a.address & bits(map_bits);
        top->s_axi_ARID = a.id;
        top->s_axi_ARLEN = a.beats - 1;
        top->s_axi_ARSIZE = a.size;
        top->s_axi_ARBURST = a.kind;
    }
    top->s_axi_ARVALID = reader && reader->shows_address;
    top->s_axi_RREADY = rready;

    top->ap_clk = 0;
    top->eval();

    // -- what happens: the memory's channels
    ar.look(top->m_axi_ARVALID, arready, text({top->m_axi_ARADDR, top->m_axi_ARLEN}));
    aw.look(top->m_axi_AWVALID, awready, text({top->m_axi_AWADDR, top->m_axi_AWLEN}));
    std::vector<uint8_t> data(32);
    get(top->m_axi_WDATA, data.data());
    w.look(top->m_axi_WVALID, wready, std::string(data.begin(), data.end()) + text({top->m_axi_WSTRB, top->m_axi_WLAST}));
    for(int k = 0; k < 2; k++) {
        const bool valid = k ? top->m_axi_AWVALID : top->m_axi_ARVALID, ready = k ? awready : arready;
        if(!valid || !ready) continue;
        Burst burst{k ? top->m_axi_AWADDR : top->m_axi_ARADDR, unsigned(k ? top->m_axi_AWLEN : top->m_axi_ARLEN) + 1};
        check(burst.beats <= 16, "a burst of more than 16 beats");
        check(burst.address % word == 0, "a burst from an address that is no word's");
        check(burst.address / 4096 == (burst.address + burst.beats * word - 1) / 4096, "a burst across a border of 4 KiB");
        check(burst.address >= base && burst.address - base + burst.beats * word <= memory.size(), "a burst outside memory");
        Engine& e = engines[k];
        check(!e.expected.empty(), "a burst that no transfer has");
        check(e.expected.front().address == burst.address && e.expected.front().beats == burst.beats, "another burst than the next one");
        e.expected.pop_front();
        choose_error(burst);
        burst.delay = stalls ? below(2 * stalls) : 3;
        (k ? writes : reads).push_back(burst);
    }
    if(r_valid && top->m_axi_RREADY) {
        if(r_fails && !engines[0].failed_now) {
            engines[0].failed_now = true;
            engines[0].error = reads.front().error;
            engines[0].error_address = reads.front().address;
            faults++;
        }
        r_valid = false;
        read_beat++;
        if(r_last) {
            read_beat = 0;
            reads.pop_front();
            bursts++;
        }
    }
    if(top->m_axi_WVALID && wready) beats.push_back({data, {top->m_axi_WSTRB, top->m_axi_WLAST}});
    while(!writes.empty() && !beats.empty()) {
        Burst& burst = writes.front();
        auto& [bytes, rest] = beats.front();
        const uint64_t at = burst.address + word * write_beat;
        write_beat++;
        check(rest.second == (write_beat == burst.beats), "WLAST at the wrong beat");
        const uint64_t end = engines[1].address + engines[1].frames * out_frame;
        for(unsigned k = 0; k < word; k++) {
            const bool strobe = rest.first >> k & 1;
            check(strobe == (at + k < end), "a byte written that is no frame's, or not written that is");
            if(strobe && !burst.error) memory[at + k - base] = bytes[k];
        }
        beats.pop_front();
        if(write_beat == burst.beats) {
            write_beat = 0;
            burst.delay = stalls ? below(2 * stalls) : 3;
            answers.push_back(burst);
            writes.pop_front();
        }
    }
    if(b_valid && top->m_axi_BREADY) {
        if(answers.front().error && !engines[1].failed_now) {
            engines[1].failed_now = true;
            engines[1].error = answers.front().error;
            engines[1].error_address = answers.front().address;
            faults++;
        }
        b_valid = false;
        answers.pop_front();
        bursts++;
    }
    // streams
    get(top->in0_V_TDATA, in_word.data());
    in_stream.look(top->in0_V_TVALID, in_ready, std::string(in_word.begin(), in_word.begin() + in_bytes));
    if(top->in0_V_TVALID && in_ready) {
        words_in++;
        for(unsigned k = 0; k < in_bytes; k++) {
            check(!to_give.empty(), "more words in the input stream than the transfer has");
            check(to_give.front() == in_word[k], "another byte in the input stream than in memory");
            to_give.pop_front();
        }
    }
    if(out_offered && top->out0_V_TREADY) {
        words_out++;
        out_offered = false;
        given.insert(given.end(), out_word.begin(), out_word.begin() + out_bytes);
        check(engines[1].running, "a word taken of the output stream while nothing is written");
        check(given.size() <= engines[1].frames * out_frame, "more words taken of the output stream than the transfer has");
    }
    // ports
    for(unsigned k = 0; k < ports; k++) {
        Lite& p = lite[k];
        const uint64_t bit = 1ull << k, inside = top->lite_ADDR & bits(sizes[k]);
        const bool a = top->lite_AWVALID & bit, d = top->lite_WVALID & bit, q = top->lite_ARVALID & bit;
        p.aw.look(a, l_awready & bit, text({inside}));
        p.w.look(d, l_wready & bit, text({top->lite_WDATA, top->lite_WSTRB}));
        p.ar.look(q, l_arready & bit, text({inside}));
        if(a && l_awready & bit) {
            p.has_address = true;
            p.address = inside;
        }
        if(d && l_wready & bit) {
            p.has_data = true;
            p.data = top->lite_WDATA;
            p.strobes = top->lite_WSTRB;
        }
        if(l_b & bit && top->lite_BREADY & bit) p.b = false;
        if(l_r & bit && top->lite_RREADY & bit) p.r = false;
        if(p.has_address && p.has_data && !p.b) {
            p.has_address = p.has_data = false;
            p.b = true;
            p.wait = below(6);
            p.resp = lite_fails ? 2 : 0;
            p.writes++;
            if(!lite_fails) for(int j = 0; j < 4; j++) if(p.strobes >> j & 1) {
                uint32_t& old = p.words[p.address / 4];
                old = (old & ~(255u << 8 * j)) | (p.data & 255u << 8 * j);
            }
        }
        if(q && l_arready & bit) {
            p.r = true;
            p.wait = below(6);
            p.resp = lite_fails ? 2 : 0;
            p.read = p.words[inside / 4];
            p.reads++;
        }
    }
    // processor
    s_b.look(top->s_axi_BVALID, bready, text({top->s_axi_BID, top->s_axi_BRESP}));
    s_r.look(top->s_axi_RVALID, rready, text({top->s_axi_RID, top->s_axi_RRESP, top->s_axi_RDATA, top->s_axi_RLAST}));
    if(top->s_axi_BVALID) check(writer && writer->address_taken && writer->sent == writer->beats, "an answer to no write");
    if(top->s_axi_RVALID) check(reader && reader->address_taken, "an answer to no read");
    if(writer) {
        Access& a = *writer;
        if(top->s_axi_BVALID && bready) {
            check(top->s_axi_BID == a.id, "a write answered with another identifier");
            a.responses.push_back(top->s_axi_BRESP);
            a.answered = true;
        }
        if(a.shows_address && top->s_axi_AWREADY) {
            a.address_taken = true;
            a.shows_address = false;
        }
        if(a.shows_data && top->s_axi_WREADY) {
            a.sent++;
            a.shows_data = false;
        }
    }
    if(reader) {
        Access& a = *reader;
        if(top->s_axi_RVALID && rready) {
            check(top->s_axi_RID == a.id, "a read answered with another identifier");
            a.got.push_back(top->s_axi_RDATA);
            a.responses.push_back(top->s_axi_RRESP);
            check(top->s_axi_RLAST == (a.got.size() == a.beats), "RLAST at the wrong beat");
            a.answered = a.got.size() == a.beats;
        }
        if(a.shows_address && top->s_axi_ARREADY) {
            a.address_taken = true;
            a.shows_address = false;
        }
    }
    top->ap_clk = 1;
    top->eval();
    cycle++;
}

static void reset() {
    writer = reader = nullptr;
    top->s_axi_AWVALID = top->s_axi_WVALID = top->s_axi_ARVALID = 0;
    top->m_axi_RVALID = top->m_axi_BVALID = top->out0_V_TVALID = 0;
    top->lite_BVALID = top->lite_RVALID = 0;
    top->ap_rst_n = 0;
    for(unsigned k = 0, n = 8 + below(8); k < n; k++) {
        top->ap_clk = 0;
        top->eval();
        top->ap_clk = 1;
        top->eval();
        cycle++;
    }
    reads.clear(), writes.clear(), answers.clear(), beats.clear(), to_give.clear(), given.clear();
    read_beat = write_beat = 0;
    r_valid = b_valid = out_offered = false;
    for(Channel* channel : {&ar, &aw, &w, &in_stream, &s_b, &s_r}) channel->held = false;
    for(Engine& e : engines) e = Engine();
    for(Lite& p : lite) {
        p.has_address = p.has_data = p.b = p.r = p.aw.held = p.w.held = p.ar.held = false;
    }
    top->ap_rst_n = 1;
    top->ap_clk = 0;
    top->eval();
    check(!top->m_axi_ARVALID && !top->m_axi_AWVALID && !top->m_axi_WVALID, "VALID is high after a reset");
    check(!top->s_axi_BVALID && !top->s_axi_RVALID && !top->in0_V_TVALID, "VALID is high after a reset");
    for(unsigned k = 0; k < 6; k++) { // until the shell has seen it
        top->ap_clk = 1;
        top->eval();
        top->ap_clk = 0;
        top->eval();
        cycle++;
    }
}

static void wait_for(Access* one, Access* other = nullptr) {
    writer = one->writes ? one : other;
    reader = one->writes ? other : one;
    const uint64_t since = cycle;
    while(!(one->answered && (!other || other->answered))) {
        tick();
        if(writer && writer->answered) writer = nullptr;
        if(reader && reader->answered) reader = nullptr;
        check(cycle - since < 100000, "the processor gets no answer");
    }
    writer = reader = nullptr;
}
static Access write_of(uint64_t address, std::vector<uint32_t> data, unsigned strobes = 15) {
    Access a;
    a.writes = true;
    a.address = address;
    a.beats = data.size();
    a.data = data;
    a.strobes.assign(data.size(), strobes);
    a.id = below(4096);
    return a;
}
static Access read_of(uint64_t address, unsigned beats = 1) {
    Access a;
    a.address = address;
    a.beats = beats;
    a.id = below(4096);
    return a;
}
static void set(uint64_t address, uint32_t value) {
    Access a = write_of(address, {value});
    wait_for(&a);
    check(a.responses[0] == 0, "a register's write was refused");
}
static uint32_t look(uint64_t address) {
    Access a = read_of(address);
    wait_for(&a);
    check(a.responses[0] == 0, "a register's read was refused");
    return a.got[0];
}
static void expect(uint64_t address, uint32_t value, const char* why) { check(look(address) == value, why); }

static uint64_t port_base(unsigned k) { // as the map is laid out: from 0x20000 on, each at a multiple of its size
    uint64_t at = 0x20000;
    for(unsigned j = 0; ; j++) {
        const uint64_t size = 1ull << sizes[j];
        at = (at + size - 1) / size * size;
        if(j == k) return at;
        at += size;
    }
}

// Accesses that have nothing to do with a transfer, also while one runs
static void other_access() {
    const unsigned kind = below(ports ? 6 : 3);
    if(kind == 0) { // a burst that wraps
        Access a = below(2) ? write_of(0x10, {7, 7, 7, 7}) : read_of(0x10, 4);
        a.kind = 2 + below(2);
        wait_for(&a);
        for(unsigned response : a.responses) check(response == 2, "a burst that wraps was not answered with SLVERR");
        return;
    }
    if(kind == 1) { // registers that are none
        const uint64_t at = below(2) * 0x10000 + 0x80 + 4 * below(0x3fe0);
        set(at, any());
        expect(at, 0, "a register that is none holds something");
        return;
    }
    if(kind == 2) { // a run of registers, read at once
        const unsigned k = below(2);
        Access a = read_of(0x10000 * k + 0x10, 4);
        wait_for(&a);
        check(a.got == std::vector<uint32_t>({uint32_t(engines[k].address), uint32_t(engines[k].address >> 32), 0, engines[k].frames}),
              "registers read in a burst are others");
        return;
    }
    const unsigned k = below(ports);
    Lite& p = lite[k];
    const uint64_t start = port_base(k);
    if(kind == 3) { // nothing lies behind the last port
        const uint64_t behind = port_base(ports - 1) + (1ull << sizes[ports - 1]);
        if(behind >= 1ull << map_bits) return;
        Access a = below(2) ? write_of(behind, {1}) : read_of(behind + 4);
        wait_for(&a);
        check(a.responses[0] == 3, "an address that nothing lies at was not answered with DECERR");
        return;
    }
    lite_fails = below(4) == 0;
    const uint64_t before = p.writes + p.reads;
    const unsigned n = 1 + below(kind == 4 ? 1 : 16);
    const bool stands = below(4) == 0;
    uint64_t first = below((1ull << sizes[k]) / 4 - n + 1), at = start + 4 * first;
    if(below(2)) {
        std::vector<uint32_t> data(n);
        for(auto& value : data) value = any();
        Access a = write_of(at, data, below(3) ? 15 : below(16));
        a.kind = !stands;
        std::map<uint64_t, uint32_t> expected;
        for(unsigned i = 0; i < n; i++) expected[first + i] = p.words[first + i];
        if(!lite_fails) for(unsigned i = 0; i < n; i++) for(int j = 0; j < 4; j++) if(a.strobes[i] >> j & 1) {
            uint32_t& old = expected[first + (stands ? 0 : i)];
            old = (old & ~(255u << 8 * j)) | (data[i] & 255u << 8 * j);
        }
        wait_for(&a);
        for(auto& [i, value] : expected) check(p.words[i] == value, "a port holds other words than were written");
        check(a.responses[0] == (lite_fails ? 2u : 0u), "a port's answer was not passed on");
    }
    else {
        Access a = read_of(at, n);
        a.kind = !stands;
        wait_for(&a);
        for(unsigned i = 0; i < n; i++) {
            check(a.got[i] == p.words[first + (stands ? 0 : i)], "a port's words are read as others");
            check(a.responses[i] == (lite_fails ? 2u : 0u), "a port's answer was not passed on");
        }
    }
    check(p.writes + p.reads == before + n, "a port was asked more or less often than the burst has beats");
    lite_fails = false;
}

static uint64_t transfers = 0, cuts = 0, empties = 0, impossible = 0;

// One transfer through both engines. False if it ended in an error or a reset.
static bool transfer() {
    transfers++;
    // A window of memory somewhere, often at one of the ends of what the addresses reach.
    const uint64_t room = 1ull << address_bits, size = memory.size();
    const unsigned where = below(4);
    base = where == 0 ? 0 : where == 1 ? room - size : below(room / size) * size;
    for(uint64_t k = 0, at = below(size); k < 64; k++) memory[(at + 97 * k) % size] = any();
    const uint64_t half = size / 2;
    uint32_t frames[2];
    uint64_t bytes[2], places[2];
    bool wrong[2] = {};
    for(int k = 0; k < 2; k++) {
        const uint64_t frame = k ? out_frame : in_frame, most = std::min<uint64_t>(half / frame, 1 + below(6));
        frames[k] = below(20) == 0 ? 0 : 1 + below(most);
        bytes[k] = frames[k] * frame;
        const uint64_t spare = half - bytes[k];
        const unsigned kind = below(4);
        // Just before a page's end, at the half's very end, or anywhere.
        uint64_t offset = kind == 0 ? below(spare / 4096 + 1) * 4096 : kind == 1 ? spare / word * word : below(spare / word + 1) * word;
        if(kind == 2 && spare > 4096) offset = (offset / 4096 * 4096 + 4096 - word * below(20)) % (spare / word * word + word);
        // No bytes, too, need an address that there is.
        places[k] = base + (k ? half : 0) + std::min(offset, half - word);
        if(below(400) == 0) { // what cannot be
            wrong[k] = true;
            impossible++;
            switch(below(3)) {
            case 0: places[k] += 1 + below(word - 1); break;
            case 1: frames[k] = 0xffffffff - below(1000); if(frames[k] * frame < room) wrong[k] = false, frames[k] = bytes[k] / frame, impossible--; break;
            default: places[k] |= 1ull << (address_bits + below(64 - address_bits)); break;
            }
        }
        if(!frames[k]) empties++;
    }
    to_give.clear();
    given.clear();
    if(!wrong[0]) to_give.insert(to_give.end(), &memory[places[0] - base], &memory[places[0] - base] + bytes[0]);
    for(int k = 0; k < 2; k++) {
        Engine& e = engines[k];
        e.address = places[k];
        e.frames = frames[k];
        e.failed_now = false;
        e.expected.clear();
        if(!wrong[k]) e.expected = pieces(places[k], bytes[k]);
        const uint64_t at = 0x10000 * k;
        if(below(4) == 0) { // in one burst
            Access a = write_of(at + 0x10, {uint32_t(places[k]), uint32_t(places[k] >> 32), 99, frames[k]});
            wait_for(&a);
            check(a.responses[0] == 0, "a burst of registers was refused");
        }
        else {
            set(at + 0x10, places[k]);
            set(at + 0x14, places[k] >> 32);
            set(at + 0x1c, frames[k]);
        }
    }
    shadow = memory;
    const bool cut = below(10000) < resets_per;
    const uint64_t cut_at = cycle + below(2000);
    if(below(8) == 0) accelerator_runs = false;
    const int first = below(2);
    for(int k : {first, 1 - first}) {
        engines[k].running = true;
        expect(0x10000 * k, 4, "an engine that was not started is not idle");
        set(0x10000 * k, 1);
        while(below(3) == 0) other_access();
    }
    bool ended[2] = {}, hangs[2] = {};
    const uint64_t since = cycle;
    while(!(ended[0] && ended[1])) {
        if(cut && cycle >= cut_at) {
            cuts++;
            accelerator_runs = true;
            reset();
            return false;
        }
        for(unsigned k = 0, n = below(200); k < n; k++) tick();
        if(below(10) == 0) other_access();
        if(!accelerator_runs && below(3) == 0) accelerator_runs = true;
        const int k = below(2);
        // A start, an address and a number of frames that come while it runs change nothing.
        if(!ended[k] && below(20) == 0) {
            const uint32_t control = look(0x10000 * k);
            if(control == 1) { // a read takes a while: it may have ended since
                Access a = write_of(0x10000 * k + 0x10, {uint32_t(places[k]), uint32_t(places[k] >> 32), 0, frames[k]});
                wait_for(&a);
            }
            else if(control & 2) ended[k] = true;
        }
        if(!ended[k]) {
            const uint32_t control = look(0x10000 * k);
            check(control == 1 || control == 0xe, "an engine's control register is neither running nor done");
            ended[k] = control & 2;
        }
        // The other engine hangs without this one's frames, as in every accelerator: it is left to its reset.
        for(int j = 0; j < 2; j++) if(ended[j] && (engines[j].failed_now || wrong[j]) && !ended[1 - j] && below(20) == 0)
            ended[1 - j] = hangs[1 - j] = true;
        check(cycle - since < 20000000, "a transfer does not end");
    }
    bool good = true;
    for(int k = 0; k < 2; k++) {
        Engine& e = engines[k];
        const uint64_t at = 0x10000 * k;
        if(hangs[k]) continue;
        if(e.failed_now || wrong[k]) {
            good = false;
            expect(at + 0x40, wrong[k] ? 1 : e.error, "an error is told as another");
            expect(at + 0x44, uint32_t(wrong[k] ? places[k] & bits(address_bits) : e.error_address), "an error is told at another address");
            expect(at + 0x48, uint32_t((wrong[k] ? places[k] & bits(address_bits) : e.error_address) >> 32), "an error is told at another address");
            set(at, 1);
            for(int j = 0; j < 20; j++) tick();
            expect(at, 0xe, "after an error a start is not done at once");
        }
        else expect(at + 0x40, 0, "an error that nobody made");
    }
    if(!good) {
        for(int j = 0; j < 100; j++) tick();
        reset();
        return false;
    }
    for(int k = 0; k < 2; k++) {
        engines[k].running = false;
        expect(0x10000 * k, 4, "done was not cleared by reading it");
        check(engines[k].expected.empty(), "done before all bursts were asked for");
    }
    check(reads.empty() && writes.empty() && answers.empty() && beats.empty(), "done before all was answered");
    check(to_give.empty(), "done before the input stream gave all");
    check(given.size() == bytes[1], "done before the output stream was taken");
    std::copy(given.begin(), given.end(), shadow.begin() + (places[1] - base));
    check(shadow == memory, "memory holds other bytes than the output stream gave");
    return true;
}

int main(int argc, char** argv) {
    auto number = [&](int i) { return i < argc ? std::strtoull(argv[i], nullptr, 10) : 0ull; };
    state = number(1);
    const uint64_t enough = number(2);
    const unsigned most_stalls = number(3);
    errors_per = number(4), resets_per = number(5);
    in_bytes = number(6), in_frame = number(7), out_bytes = number(8), out_frame = number(9);
    data_bits = number(10), address_bits = number(11), map_bits = number(12), ports = number(13);
    for(unsigned k = 0; k < ports; k++) sizes.push_back(number(14 + k));
    word = data_bits / 8;
    lite.resize(ports);
    for(auto& byte : memory) byte = any();
    Verilated::randReset(2);
    Verilated::randSeed(int(state % 0x3fffffff) + 1);
    top = new Top;
    reset();
    stalls = 0;
    while(bursts < enough) {
        // Often without any waiting, which shows the engines' own speed, and with all degrees of it.
        if(below(8) == 0) stalls = below(3) ? below(most_stalls + 1) : 0;
        transfer();
    }
    std::printf("{\"bursts\": %" PRIu64 ", \"transfers\": %" PRIu64 ", \"cycles\": %" PRIu64 ", \"errors\": %" PRIu64
                ", \"resets\": %" PRIu64 ", \"empty\": %" PRIu64 ", \"impossible\": %" PRIu64 ", \"words_in\": %" PRIu64
                ", \"words_out\": %" PRIu64 "}\n",
                bursts, transfers, cycle, faults, cuts, empties, impossible, words_in, words_out);
    std::fflush(stdout);
    std::_Exit(0);
}
