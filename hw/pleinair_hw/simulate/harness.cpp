// The program around a module that Verilator compiled as class Top (see verilator.py).
//
//     simulate MAX_CYCLES IDLE_LIMIT RESTART_AT STALL_IN STALL_OUT SEED EXPECTED...
//
// Reads the words of input k from ink.bin; writes outk.bin, ink.cycles and outk.cycles (uint64) and result.json. Tells its
// progress on standard error: cycles, words in, words out. Ends with status 3 when the module stops or breaks the protocol.
// Where the module has an AXI-lite port, follows the script bus.txt (see script.py) and writes bus.bin, a uint64 for each
// of its lines.
#include "Top.h"
#include "verilated.h"
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static uint64_t cycle = 0; // since the last reset

[[noreturn]] static void fail(const std::string& why) {
    std::printf("stopped: %s in cycle %" PRIu64 "\n", why.c_str(), cycle);
    std::fflush(stdout);
    std::_Exit(3);
}

static std::string place(const char* file, int line) {
    return std::string(" at ") + (file ? file : "?") + ":" + std::to_string(line);
}

void vl_stop(const char* file, int line, const char*) { fail("$stop or $error" + place(file, line)); }
void vl_finish(const char* file, int line, const char*) { fail("$finish" + place(file, line)); }
void vl_fatal(const char* file, int line, const char*, const char* message) { fail(message + place(file, line)); }

template <class T> static inline void put(T& port, const uint8_t* word) { std::memcpy(&port, word, sizeof(T)); }
template <class T> static inline void get(const T& port, uint8_t* word) { std::memcpy(word, &port, sizeof(T)); }
template <std::size_t N> static inline void put(VlWide<N>& port, const uint8_t* word) {
    std::memcpy(port.data(), word, 4 * N);
}
template <std::size_t N> static inline void get(const VlWide<N>& port, uint8_t* word) {
    std::memcpy(word, port.data(), 4 * N);
}

struct Random { // splitmix64
    uint64_t state = 0;

    uint64_t next() {
        uint64_t z = (state += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    bool in_hundred(unsigned per_cent) { return per_cent && next() % 100 < per_cent; }
};

struct Stream {
    std::string name;
    size_t bits;
    int number;
    size_t bytes, slot; // of a word in files, and of the port's variable at least
    size_t total = 0, done = 0;
    unsigned stall = 0; // per cent
    bool waiting = false; // a word is offered and not taken
    Random random;
    std::vector<uint64_t> cycles;

    Stream(const char* name, size_t bits, int number)
        : name(name), bits(bits), number(number), bytes((bits + 7) / 8), slot((bytes + 7) / 8 * 8) {}

    void restart() {
        done = 0;
        waiting = false;
        cycles.clear();
    }
    std::string told() const {
        return "[" + std::to_string(done) + ", " + std::to_string(total) + ", " + (waiting ? "1" : "0") + "]";
    }
};

struct Input : Stream {
    std::vector<uint8_t> words;
    std::vector<uint8_t> noise; // shown while no word is offered

    using Stream::Stream;

    void load() {
        FILE* file = std::fopen(("in" + std::to_string(number) + ".bin").c_str(), "rb");
        if(!file) fail("error: no words for input " + name);
        noise.assign(slot, 0);
        std::vector<uint8_t> word(slot, 0);
        while(std::fread(word.data(), bytes, 1, file) == 1) {
            if(bits % 8) word[bytes - 1] &= (1u << bits % 8) - 1;
            words.insert(words.end(), word.begin(), word.end());
        }
        std::fclose(file);
        total = words.size() / slot;
    }
    size_t allowed = SIZE_MAX; // words that may be offered

    bool offer() {
        if(!waiting && done < total && done < allowed && !random.in_hundred(stall)) waiting = true;
        return waiting;
    }
    const uint8_t* shown() const { return waiting ? &words[done * slot] : noise.data(); }
    bool sample(bool ready) {
        if(!waiting || !ready) return false;
        cycles.push_back(cycle);
        done++;
        waiting = false;
        for(size_t i = 0; i < bytes; i++) noise[i] = random.next();
        if(bits % 8) noise[bytes - 1] &= (1u << bits % 8) - 1;
        return true;
    }
};

struct Output : Stream {
    std::vector<uint8_t> now, held, words;
    bool ready = false;

    Output(const char* name, size_t bits, int number) : Stream(name, bits, number), now(slot, 0) {}

    bool accept() { return ready = !random.in_hundred(stall); }
    bool sample(bool valid) {
        if(waiting && !valid) fail("error: output " + name + " withdrew a word before it was taken");
        if(waiting && now != held) fail("error: output " + name + " changed a word before it was taken");
        waiting = valid && !ready;
        if(waiting) held = now;
        if(!valid || !ready) return false;
        words.insert(words.end(), now.begin(), now.begin() + bytes);
        cycles.push_back(cycle);
        done++;
        return true;
    }
    void restart() {
        Stream::restart();
        words.clear();
    }
};

// An AXI-lite master that follows a script, one line after the other.
struct Bus {
    struct Line {
        char kind;
        uint64_t a, b, c;
    };
    std::vector<Line> lines;
    std::vector<uint64_t> replies;
    size_t at = 0;
    unsigned stall = 0; // per cent
    uint64_t since = 0; // cycle in which the line was begun
    Random random;
    // What is driven, and what of a transfer is still to come
    bool aw = false, w = false, b = false, ar = false, r = false;
    bool awvalid = false, wvalid = false, bready = false, arvalid = false, rready = false;
    uint64_t address = 0, data = 0, strobes = 0;
    bool held_b = false, held_r = false;
    uint64_t held_answer = 0;

    void load() {
        FILE* file = std::fopen("bus.txt", "r");
        if(!file) return;
        Line line;
        while(std::fscanf(file, " %c %" SCNu64 " %" SCNu64 " %" SCNu64, &line.kind, &line.a, &line.b, &line.c) == 4)
            lines.push_back(line);
        std::fclose(file);
    }
    bool done() const { return at == lines.size(); }
    bool idle() const { return !(aw || w || b || ar || r); }
    void restart() {
        at = since = 0;
        replies.clear();
        aw = w = b = ar = r = awvalid = wvalid = bready = arvalid = rready = held_b = held_r = false;
    }
    void reply(uint64_t value) {
        replies.push_back(value);
        at++;
        since = cycle;
    }
    // Lines that need no transfer, and the beginning of one that does
    void step(std::vector<Input>& in, std::vector<Output>& out) {
        while(!done() && idle()) {
            const Line& line = lines[at];
            if(line.kind == 'a') in[line.a].allowed = line.b;
            else if(line.kind == 'i') { if(in[line.a].done < line.b) return; }
            else if(line.kind == 'o') { if(out[line.a].done < line.b) return; }
            else if(line.kind == 'c') { if(cycle - since < line.a) return; }
            else if(line.kind == 'w') {
                aw = w = b = true;
                address = line.a, data = line.b, strobes = line.c;
                return;
            }
            else {
                ar = r = true;
                address = line.a;
                return;
            }
            reply(cycle);
        }
    }
    void drive() { // what is offered stays until it is taken
        awvalid = awvalid || (aw && !random.in_hundred(stall));
        wvalid = wvalid || (w && !random.in_hundred(stall));
        arvalid = arvalid || (ar && !random.in_hundred(stall));
        bready = b && !random.in_hundred(stall);
        rready = r && !random.in_hundred(stall);
    }
    void hold(bool& held, bool valid, bool ready, uint64_t answer, const char* name) {
        if(held && (!valid || answer != held_answer)) fail(std::string("error: the AXI-lite ") + name + " did not stay");
        held = valid && !ready;
        if(held) held_answer = answer;
    }
    bool sample(bool awready, bool wready, bool bvalid, unsigned bresp, bool arready, bool rvalid, unsigned rresp, uint64_t rdata) {
        const size_t before = replies.size();
        const uint64_t answer = uint64_t(rresp) << 32 | rdata;
        if((bvalid && (!b || aw || w)) || (rvalid && (!r || ar))) fail("error: an AXI-lite answer to no request");
        if(b) hold(held_b, bvalid, bready, bresp, "response");
        if(r) hold(held_r, rvalid, rready, answer, "data");
        if(awvalid && awready) aw = awvalid = false;
        if(wvalid && wready) w = wvalid = false;
        if(arvalid && arready) ar = arvalid = false;
        if(bvalid && bready) {
            b = false;
            reply(uint64_t(bresp) << 32);
        }
        if(rvalid && rready) {
            r = false;
            const Line& line = lines[at];
            if(line.kind == 'r' || (rdata & line.b) == line.c || rresp) reply(answer);
        }
        return replies.size() != before; // looking again and again is no movement
    }
};

// inputs(), outputs(), hide(), drive(), sample(), counters(), drive_bus(), sample_bus()
#include "ports.h"

static void write(const std::string& name, const void* data, size_t bytes) {
    FILE* file = std::fopen(name.c_str(), "wb");
    if(!file || (bytes && std::fwrite(data, bytes, 1, file) != 1) || std::fclose(file))
        fail("error: " + name + " cannot be written: " + std::strerror(errno));
}

// A clock of twice the rate, whose every second rising edge is the clock's: for matrix products that are pumped.
template <class T> static auto set_fast(T& top, int level, int) -> decltype(top.ap_clk2x, void()) { top.ap_clk2x = level; }
template <class T> static void set_fast(T&, int, long) {}
template <class T> static auto is_pumped(T& top, int) -> decltype(top.ap_clk2x, bool()) { return true; }
template <class T> static bool is_pumped(T&, long) { return false; }

template <class T> static void fall(T& top) { // from just behind the clock's rising edge to just before the next
    if(is_pumped(top, 0)) {
        set_fast(top, 0, 0);
        top.eval();
        set_fast(top, 1, 0);
    }
    top.ap_clk = 0;
    top.eval();
    if(is_pumped(top, 0)) {
        set_fast(top, 0, 0);
        top.eval();
    }
}

template <class T> static void rise(T& top) {
    set_fast(top, 1, 0);
    top.ap_clk = 1;
    top.eval();
}

template <class S> static bool all_done(const std::vector<S>& streams) {
    for(auto& s : streams)
        if(s.done < s.total) return false;
    return true;
}

template <class S> static uint64_t words_done(const std::vector<S>& streams) {
    uint64_t sum = 0;
    for(auto& s : streams) sum += s.done;
    return sum;
}

int main(int argc, char** argv) {
    auto number = [&](int i) { return i < argc ? std::strtoull(argv[i], nullptr, 10) : 0ull; };
    const uint64_t max_cycles = number(1), idle_limit = number(2), seed = number(6);
    uint64_t restart_at = number(3);
    std::vector<Input> in = inputs();
    std::vector<Output> out = outputs();
    for(auto& s : in) {
        s.load();
        s.stall = number(4);
        s.random.state = seed * 1000003 + 2 * s.number;
    }
    for(auto& s : out) {
        s.total = number(7 + s.number);
        s.stall = number(5);
        s.random.state = seed * 1000003 + 2 * s.number + 1;
    }

    Bus bus;
    bus.load();
    bus.stall = number(4);
    bus.random.state = seed * 1000003 + 1000002;

    Verilated::randReset(2); // random values for registers without reset, where the module was compiled to have them
    Verilated::randSeed(int(seed % 0x3fffffff) + 1);
    Top& top = *new Top;
    auto reset = [&] {
        hide(top);
        bus.restart();
        for(auto& s : in) s.allowed = SIZE_MAX;
        drive_bus(top, bus);
        top.ap_rst_n = 0;
        for(int i = 0; i < 32; i++) {
            fall(top);
            rise(top);
        }
        top.ap_rst_n = 1; // as a register of the clock's would
        cycle = 0;
        for(auto& s : in) s.restart();
        for(auto& s : out) s.restart();
    };
    reset();

    const uint64_t drain = 64; // cycles in which surplus words would show themselves
    uint64_t moved_at = 0, finished = 0;
    auto told = std::chrono::steady_clock::now();
    std::string stuck;
    for(;; cycle++) {
        if(restart_at && cycle == restart_at) {
            reset();
            restart_at = moved_at = 0;
        }
        bus.step(in, out);
        bus.drive();
        drive(top, in, out);
        drive_bus(top, bus);
        fall(top);
        bool moved = sample(top, in, out);
        moved |= sample_bus(top, bus);
        rise(top);

        if(finished) {
            if(cycle >= finished + drain) break;
            continue;
        }
        if(moved) moved_at = cycle;
        if((moved || cycle == 0) && !restart_at && bus.done() && all_done(in) && all_done(out)) {
            finished = cycle + 1;
            continue;
        }
        if(cycle - moved_at >= idle_limit) {
            stuck = "nothing moved for " + std::to_string(idle_limit) + " cycles";
            break;
        }
        if(cycle + 1 >= max_cycles) {
            stuck = "the limit of " + std::to_string(max_cycles) + " cycles was reached";
            break;
        }
        if(cycle % 1024 == 0) {
            auto now = std::chrono::steady_clock::now();
            if(now - told > std::chrono::milliseconds(500)) {
                told = now;
                std::fprintf(stderr, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", cycle, words_done(in), words_done(out));
            }
        }
    }

    std::string text = "{\"cycles\": " + std::to_string(finished ? finished : cycle + 1) + ", \"stuck\": \"" + stuck;
    text += "\", \"inputs\": [";
    for(auto& s : in) {
        write("in" + std::to_string(s.number) + ".cycles", s.cycles.data(), 8 * s.cycles.size());
        text += (s.number ? ", " : "") + s.told();
    }
    text += "], \"outputs\": [";
    for(auto& s : out) {
        std::string base = "out" + std::to_string(s.number);
        write(base + ".bin", s.words.data(), s.words.size());
        write(base + ".cycles", s.cycles.data(), 8 * s.cycles.size());
        text += (s.number ? ", " : "") + s.told();
    }
    write("bus.bin", bus.replies.data(), 8 * bus.replies.size());
    text += "], \"counters\": [";
    std::string comma;
    for(uint64_t value : counters(top)) {
        text += comma + std::to_string(value);
        comma = ", ";
    }
    text += "]}";
    write("result.json", text.data(), text.size());
    std::fflush(stdout);
    std::_Exit(0); // past the destructors of large modules, which take seconds
}
