"""Netlists simulated in Python: a second simulator for what :mod:`pleinair_hw.bitstream.netlist` writes.

Each cell becomes a line of one Python function that computes a cycle, so nothing has to be compiled; a small
accelerator runs some hundred cycles a second. Every value is 0 or 1. The cells are modelled here anew, after AMD's user
guides (UG474 for slices, UG479 for DSPs); one clock for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_CELL = re.compile(r"^(\w+) (?:#\((.*)\) )?\\(\S+)  \((.*)\);$", re.MULTILINE)
_PAIR = re.compile(r"\.(\w+)\((\{[^}]*\}|[^()]*)\)")
_DSP_INPUTS = ("A", "B", "C", "D", "ACIN", "BCIN", "PCIN", "OPMODE", "ALUMODE", "INMODE", "CARRYIN", "CARRYINSEL")
_DSP_CONTROL = (
    *(
        "CEA1",
        "CEA2",
        "CEAD",
        "CEALUMODE",
        "CEB1",
        "CEB2",
        "CEC",
        "CECARRYIN",
        "CECTRL",
        "CED",
        "CEINMODE",
        "CEM",
        "CEP",
    ),
    *("RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL", "RSTD", "RSTINMODE", "RSTM", "RSTP"),
)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Dsp:
    """A DSP48E1 without pattern detector and without SIMD."""

    def __init__(self, parameters: dict[str, str]) -> None:
        self.p = {key: value.strip('"') for key, value in parameters.items()}
        if self.p["USE_SIMD"] != "ONE48":
            raise ValueError("SIMD")
        self.depth = {key: int(value) for key, value in self.p.items() if value.isdigit()}
        self.a1 = self.a2 = self.b1 = self.b2 = self.c = self.d = self.ad = self.m = self.value = 0
        self.opmode = self.alumode = self.inmode = self.carryin = self.carryinsel = 0

    def outputs(self, v: dict[str, int]) -> tuple[int, int, int]:
        """P, ACOUT and BCOUT for these inputs, before the clock's edge."""
        a2, b2, _, _, _ = self._before_product(v)
        total = self.value if self.depth["PREG"] else self._sum(v)
        return total & (1 << 48) - 1, a2 & (1 << 30) - 1, b2 & (1 << 18) - 1

    def _before_product(self, v: dict[str, int]) -> tuple[int, int, int, int, int]:
        """A2, B2, the multiplier's two inputs, and what goes into the register before it."""
        depth = self.depth
        a = v["ACIN"] if self.p["A_INPUT"] == "CASCADE" else v["A"]
        b = v["BCIN"] if self.p["B_INPUT"] == "CASCADE" else v["B"]
        a2, b2 = (self.a2 if depth["AREG"] else a), (self.b2 if depth["BREG"] else b)
        a1 = self.a1 if depth["AREG"] == 2 else a2
        b1 = self.b1 if depth["BREG"] == 2 else b2
        inmode = self.inmode if depth["INMODEREG"] else v["INMODE"]
        d = self.d if depth["DREG"] else v["D"]
        gated = 0 if inmode >> 1 & 1 else _signed(a1 if inmode & 1 else a2, 25)
        port = _signed(d, 25) if inmode >> 2 & 1 else 0
        added = port - gated if inmode >> 3 & 1 else port + gated
        first = gated
        if self.p["USE_DPORT"] == "TRUE":
            first = _signed(self.ad if depth["ADREG"] else added, 25)
        return a2, b2, first, _signed(b1 if inmode >> 4 & 1 else b2, 18), added

    def _sum(self, v: dict[str, int]) -> int:
        depth = self.depth
        a2, b2, first, second, _ = self._before_product(v)
        product = self.m if depth["MREG"] else first * second
        opmode = self.opmode if depth["OPMODEREG"] else v["OPMODE"]
        alumode = self.alumode if depth["ALUMODEREG"] else v["ALUMODE"]
        select = self.carryinsel if depth["CARRYINSELREG"] else v["CARRYINSEL"]
        carry = self.carryin if depth["CARRYINREG"] else v["CARRYIN"]
        c = self.c if depth["CREG"] else v["C"]
        if select:
            raise ValueError("a carry of another kind")
        x, y, z = opmode & 3, opmode >> 2 & 3, opmode >> 4
        if (x == 1) != (y == 1):
            raise ValueError(f"OPMODE {opmode:07b}")
        both = _signed((a2 & (1 << 30) - 1) << 18 | b2 & (1 << 18) - 1, 48)
        xs = (0, product, self.value, both)[x]
        ys = (0, 0, -1, _signed(c, 48))[y]
        pcin = _signed(v["PCIN"], 48)
        zs = {0: 0, 1: pcin, 2: self.value, 3: _signed(c, 48), 5: pcin >> 17, 6: _signed(self.value, 48) >> 17}[z]
        total = xs + ys + carry
        return {0: zs + total, 1: -zs + total - 1, 2: -zs - total - 1, 3: zs - total}[alumode] & (1 << 48) - 1

    def clock(self, v: dict[str, int]) -> None:
        """A rising edge."""
        depth = self.depth
        _, _, first, second, added = self._before_product(v)
        total = self._sum(v)
        a = v["ACIN"] if self.p["A_INPUT"] == "CASCADE" else v["A"]
        b = v["BCIN"] if self.p["B_INPUT"] == "CASCADE" else v["B"]

        def load(old: int, new: int, enable: str, reset: str) -> int:
            return 0 if v[reset] else new if v[enable] else old

        a_new, b_new = (self.a1 if depth["AREG"] == 2 else a), (self.b1 if depth["BREG"] == 2 else b)
        self.value = load(self.value, total, "CEP", "RSTP")
        self.m = load(self.m, first * second, "CEM", "RSTM")
        self.ad = load(self.ad, added, "CEAD", "RSTD")
        self.a2, self.b2 = load(self.a2, a_new, "CEA2", "RSTA"), load(self.b2, b_new, "CEB2", "RSTB")
        self.a1, self.b1 = load(self.a1, a, "CEA1", "RSTA"), load(self.b1, b, "CEB1", "RSTB")
        self.c, self.d = load(self.c, v["C"], "CEC", "RSTC"), load(self.d, v["D"], "CED", "RSTD")
        self.opmode = load(self.opmode, v["OPMODE"], "CECTRL", "RSTCTRL")
        self.carryinsel = load(self.carryinsel, v["CARRYINSEL"], "CECTRL", "RSTCTRL")
        self.alumode = load(self.alumode, v["ALUMODE"], "CEALUMODE", "RSTALUMODE")
        self.inmode = load(self.inmode, v["INMODE"], "CEINMODE", "RSTINMODE")
        self.carryin = load(self.carryin, v["CARRYIN"], "CECARRYIN", "RSTALLCARRYIN")


class Gates:
    """A netlist ready to run. ``inputs`` are what the processing system drives, by port; ``outputs`` what it reads."""

    def __init__(self, verilog: str) -> None:
        self._assigns = dict(re.findall(r"^assign (\S+) = (\S+);$", verilog, re.MULTILINE))
        self._drivers: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {}
        self._state: list[str] = []
        self._values: list[int] = []
        self._memories: list[int] = []
        self._memory_names: dict[str, int] = {}
        self._dsps: list[Dsp] = []
        self._dsp_names: dict[str, int] = {}
        self._registers: list[tuple[str, dict[str, str]]] = []
        self._tables: list[tuple[str, str, dict[str, str], dict[str, str]]] = []
        self._blocks: list[tuple[str, dict[str, str]]] = []
        for kind, given, name, joined in _CELL.findall(verilog):
            self._add(kind, name, dict(_PAIR.findall(given)), dict(_PAIR.findall(joined)))
        self._lines: list[str] = []
        self._made: dict[str, str] = {}
        self._compile()

    def _add(self, kind: str, name: str, parameters: dict[str, str], ports: dict[str, str]) -> None:
        cell = (kind, name, parameters, ports)
        if kind.startswith(("LUT", "MUX")):
            self._drivers[ports["O"]] = cell
        elif kind == "CARRY4":
            for output in ("O", "CO"):
                self._drivers.update({f"{ports[output]}[{bit}]": cell for bit in range(4)})
        elif kind in ("FDRE", "FDSE"):
            self._state.append(ports["Q"])
            self._values.append(int(parameters["INIT"][-1]))
            self._registers.append((kind, ports))
        elif kind.startswith("pleinair_"):
            self._memory_names[name] = len(self._memories)
            init = int(parameters["INIT"].partition("h")[2], 16)
            if "srl" in kind:  # every bit stands twice
                init = sum((init >> 2 * bit & 1) << bit for bit in range(32))
            self._memories.append(init)
            self._tables.append(cell)
            self._drivers.update({ports[output]: cell for output in ("o6", "o5", "mc31") if output in ports})
        elif kind == "DSP48E1":
            self._dsp_names[name] = len(self._dsps)
            self._dsps.append(Dsp(parameters))
            self._blocks.append((name, ports))
            for output in ("P", "PCOUT", "ACOUT", "BCOUT"):
                self._drivers[ports[output]] = cell
        elif kind == "PS7":
            self.ports = ports
        else:
            raise ValueError(kind)

    def _name(self, signal: str) -> str:
        """The expression of a signal that is made already."""
        if signal.startswith("~"):
            return f"(1-{self._name(signal[1:])})"
        base = self._base(signal)
        return base[-1] if base.startswith("1'b") else self._made[base]

    def _base(self, signal: str) -> str:
        while signal in self._assigns:
            signal = self._assigns[signal]
        return signal

    def _bus(self, signal: str) -> list[str]:
        """A port's bits, from 0 up."""
        if re.fullmatch(r"\d+'d0", signal):
            return ["1'b0"]
        return [bit.strip() for bit in signal.strip("{}").split(",")][::-1]

    def _number(self, signal: str) -> str:
        """An expression for a bus as a number."""
        names = [self._name(bit) for bit in self._bus(signal)]
        constant = sum(1 << bit for bit, name in enumerate(names) if name == "1")
        terms = [name if bit == 0 else f"{name}<<{bit}" for bit, name in enumerate(names) if name not in ("0", "1")]
        return "|".join(terms + [str(constant)] * (constant > 0 or not terms))

    def _inputs(self, signal: str) -> list[str]:
        """The signals that a signal's cell needs in the same cycle."""
        kind, name, _, ports = self._driver(signal)
        if kind.startswith("LUT"):
            return [ports[f"I{number}"] for number in range(int(kind[3]))]
        if kind.startswith("MUX"):
            return [ports["I0"], ports["I1"], ports["S"]]
        if kind == "CARRY4":
            bit = int(signal[-2])
            carry = [ports["CI"], ports["CYINIT"]] if bit == 0 else [f"{ports['CO']}[{bit - 1}]"]
            data = [] if signal.startswith(ports["O"] + "[") else [self._bus(ports["DI"])[bit]]
            return [*carry, self._bus(ports["S"])[bit], *data]
        if kind.startswith("pleinair"):
            return self._bus(ports["a" if "srl" in kind else "ra"])
        depth = self._dsps[self._dsp_names[name]].depth
        return [bit for port in _DSP_INPUTS for bit in self._bus(ports[port])] if not depth["PREG"] else []

    def _driver(self, signal: str) -> tuple[str, str, dict[str, str], dict[str, str]]:
        found = self._drivers.get(signal) or self._drivers.get(signal.partition("[")[0])
        if found is None:
            raise ValueError(f"nothing drives {signal}")
        return found

    def _emit(self, signal: str) -> None:
        """Write the lines that make a signal; what it needs is made."""
        kind, name, parameters, ports = self._driver(signal)

        def let(target: str, text: str) -> None:
            variable = f"v{len(self._made)}"
            self._made[target] = variable
            self._lines.append(f"{variable}={text}")

        if kind.startswith("LUT"):
            inputs = [self._name(ports[f"I{number}"]) for number in range(int(kind[3]))]
            address = "|".join(text if bit == 0 else f"{text}<<{bit}" for bit, text in enumerate(inputs))
            let(signal, f"{int(parameters['INIT'].partition('h')[2], 16)}>>({address})&1")
        elif kind.startswith("MUX"):
            low, high, select = (self._name(ports[port]) for port in ("I0", "I1", "S"))
            let(signal, f"{high} if {select} else {low}")
        elif kind == "CARRY4":
            bit = int(signal[-2])
            carry = f"({self._name(ports['CI'])}|{self._name(ports['CYINIT'])})"
            if bit:
                carry = self._name(f"{ports['CO']}[{bit - 1}]")
            select = self._name(self._bus(ports["S"])[bit])
            if signal.startswith(ports["O"] + "["):
                let(signal, f"{select}^{carry}")
            else:
                let(signal, f"{carry} if {select} else {self._name(self._bus(ports['DI'])[bit])}")
        elif kind.startswith("pleinair"):
            memory = f"M[{self._memory_names[name]}]"
            address = f"({self._number(ports['a' if 'srl' in kind else 'ra'])})"
            half = {"pleinair_ram32": 32, "pleinair_srl16": 16}.get(kind, 0)
            for output in ("o6", "o5"):
                if output in ports:
                    if kind == "pleinair_ram64" and output == "o5":
                        let(ports[output], f"{memory}>>({address}&31)&1")
                    else:
                        let(ports[output], f"{memory}>>({address}+{half if output == 'o6' else 0})&1")
            if "mc31" in ports:
                let(ports["mc31"], f"{memory}>>31&1")
        else:
            number = self._dsp_names[name]
            if self._dsps[number].depth["PREG"]:
                self._lines.append(f"p{number}=D[{number}].value")
                outputs = (("P", "p"), ("PCOUT", "p"))
            else:
                values = ",".join(f"'{port}':{self._number(ports[port])}" for port in _DSP_INPUTS)
                self._lines.append(f"p{number},a{number},b{number}=D[{number}].outputs({{{values}}})")
                outputs = (("P", "p"), ("PCOUT", "p"), ("ACOUT", "a"), ("BCOUT", "b"))
            for output, letter in outputs:
                for bit in range({"ACOUT": 30, "BCOUT": 18}.get(output, 48)):
                    self._made[f"{ports[output]}[{bit}]"] = f"({letter}{number}>>{bit}&1)"

    def _make(self, signal: str) -> None:
        """Write everything that a signal needs, then itself."""
        pending = [signal]
        busy: set[str] = set()
        while pending:
            now = pending[-1].lstrip("~")
            now = now if now.startswith("1'b") else self._base(now)
            if now.startswith("1'b") or now in self._made:
                pending.pop()
                continue
            missing = [
                other
                for text in self._inputs(now)
                if not (other := self._base(text.lstrip("~"))).startswith("1'b") and other not in self._made
            ]
            if missing and now in busy:
                raise ValueError(f"{now} depends on itself")
            if missing:
                busy.add(now)
                pending += missing
            else:
                self._emit(now)
                pending.pop()

    def _compile(self) -> None:
        self._made |= {name: f"s{number}" for number, name in enumerate(self._state)}
        self.outputs = {}
        driven: dict[str, tuple[str, int]] = {}
        for port, text in self.ports.items():
            for bit, signal in enumerate(self._bus(text)):
                base = self._base(signal.lstrip("~"))
                if base.startswith("PSS") or base.startswith("open_"):
                    driven[base] = (port, bit)
        for number, (base, (port, bit)) in enumerate(driven.items()):
            self._made[base] = f"i{number}"
            self._lines.append(f"i{number}=I.get({port!r},0)>>{bit}&1")
        wanted: list[str] = []
        for _, ports in self._registers:
            wanted += [ports["D"], ports["CE"], ports.get("R") or ports["S"]]
        for _, _, _, ports in self._tables:
            wanted += [
                bit for port in ("wa", "di", "di1", "di2", "we") if port in ports for bit in self._bus(ports[port])
            ]
        for _, ports in self._blocks:
            wanted += [bit for port in (*_DSP_INPUTS, *_DSP_CONTROL) for bit in self._bus(ports[port])]
        own = {base for base, _ in driven.items()}
        read = {
            port: text
            for port, text in self.ports.items()
            if not any(self._base(bit) in own and bit.startswith(("PSS", "open_")) for bit in self._bus(text))
        }
        for text in read.values():
            wanted += self._bus(text)
        for signal in wanted:
            self._make(signal)
        self._lines.append("O={" + ",".join(f"{port!r}:{self._number(text)}" for port, text in read.items()) + "}")
        self._lines.append("if not edge: return O,S")
        for kind, name, parameters, ports in self._tables:
            self._write(kind, self._memory_names[name], parameters, ports)
        for name, ports in self._blocks:
            values = ",".join(f"'{port}':{self._number(ports[port])}" for port in (*_DSP_INPUTS, *_DSP_CONTROL))
            self._lines.append(f"D[{self._dsp_names[name]}].clock({{{values}}})")
        following = []
        for number, (kind, ports) in enumerate(self._registers):
            text = self._name(ports["D"])
            enable, reset = self._name(ports["CE"]), self._name(ports.get("R") or ports["S"])
            text = text if enable == "1" else f"({text} if {enable} else s{number})"
            following.append(text if reset == "0" else f"({int(kind == 'FDSE')} if {reset} else {text})")
        self._lines.append("return O,[" + ",".join(following) + "]")
        head = "def cycle(S,I,M,D,edge):\n " + ",".join(f"s{number}" for number in range(len(self._state))) + ",=S\n "
        scope: dict[str, Callable] = {}
        exec(head + "\n ".join(self._lines), scope)  # noqa: S102  our own text
        self._cycle = scope["cycle"]

    def _write(self, kind: str, number: int, parameters: dict[str, str], ports: dict[str, str]) -> None:
        """A memory's or a shift register's edge."""
        enable, memory = self._name(ports["we"]), f"M[{number}]"
        if enable == "0":
            return
        data = {port: self._name(ports[port]) for port in ("di", "di1", "di2") if port in ports}
        if kind == "pleinair_ram64":
            wide, upper = (int(parameters[name][-1]) for name in ("WIDE", "UPPER"))
            address = self._number(ports["wa"])
            self._lines += [
                f"if {enable} and (({address})>>6^{upper})&{wide}==0:",
                f" w=({address})&63;{memory}={memory}&~(1<<w)|{data['di']}<<w",
            ]
        elif kind == "pleinair_ram32":
            self._lines += [
                f"if {enable}:",
                f" w={self._number(ports['wa'])}",
                f" {memory}={memory}&~(1<<w|1<<w+32)|{data['di1']}<<w|{data['di2']}<<w+32",
            ]
        elif kind == "pleinair_srl32":
            self._lines += [f"if {enable}:", f" {memory}={memory}<<1&0xffffffff|{data['di']}"]
        else:
            text = f"{memory}<<1&0xfffefffe|{data['di1']}|{data['di2']}<<16"
            self._lines += [f"if {enable}:", f" {memory}={text}"]

    def look(self, inputs: dict[str, int]) -> dict[str, int]:
        """What the processing system reads while it drives this, by port."""
        found: dict[str, int] = self._cycle(self._values, inputs, self._memories, self._dsps, False)[0]
        return found

    def clock(self, inputs: dict[str, int]) -> dict[str, int]:
        """What it reads before a rising edge; the edge follows."""
        found: dict[str, int]
        found, self._values = self._cycle(self._values, inputs, self._memories, self._dsps, True)
        return found
