package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compiled returns a program for a platform, built in a directory of its own.
func compiled(t *testing.T, system, architecture string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module example.com/nothing\n\ngo 1.26.0\n",
		"main.go": "package main\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", "nothing", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+architecture, "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building a program: %v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "nothing"))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// made describes an ELF file with nothing in it but headers.
type made struct {
	class   elf.Class
	data    elf.Data
	abi     elf.OSABI
	kind    elf.Type
	machine elf.Machine
	entry   uint64
	segment elf.ProgType // of the only segment, if any
	size    uint64       // of that in the file
}

// sound is one that static takes.
func sound() made {
	return made{elf.ELFCLASS64, elf.ELFDATA2LSB, elf.ELFOSABI_NONE, elf.ET_EXEC, elf.EM_X86_64, 0x1000, elf.PT_LOAD, 64}
}

func (m made) bytes(t *testing.T) []byte {
	t.Helper()
	var order binary.ByteOrder = binary.LittleEndian
	if m.data == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(m.class), byte(m.data), byte(elf.EV_CURRENT), byte(m.abi)}
	var out bytes.Buffer
	write := func(v any) {
		if err := binary.Write(&out, order, v); err != nil {
			t.Fatal(err)
		}
	}
	if m.class == elf.ELFCLASS32 {
		write(elf.Header32{Ident: ident, Type: uint16(m.kind), Machine: uint16(m.machine), Version: 1, Entry: uint32(m.entry), Ehsize: 52})
		return out.Bytes()
	}
	write(elf.Header64{
		Ident: ident, Type: uint16(m.kind), Machine: uint16(m.machine), Version: 1, Entry: m.entry,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	})
	write(elf.Prog64{Type: uint32(m.segment), Filesz: m.size, Memsz: m.size})
	return out.Bytes()
}

func TestAProgramThatWouldNotRunInTheImageIsRefused(t *testing.T) {
	t.Parallel()
	with := func(change func(*made)) []byte {
		m := sound()
		change(&m)
		return m.bytes(t)
	}
	for name, test := range map[string]struct {
		program []byte
		want    string
	}{
		"a script":                          {[]byte("#!/bin/sh\n"), "no program for linux"},
		"nothing":                           {nil, "no program for linux"},
		"a program for FreeBSD":             {with(func(m *made) { m.abi = elf.ELFOSABI_FREEBSD }), "GOOS=linux"},
		"an object file":                    {with(func(m *made) { m.kind = elf.ET_REL }), "ET_REL"},
		"a library":                         {with(func(m *made) { m.kind, m.entry = elf.ET_DYN, 0 }), "begins at 0x0"},
		"one that names a dynamic linker":   {with(func(m *made) { m.segment = elf.PT_INTERP }), "CGO_ENABLED=0"},
		"one whose end is missing":          {with(func(m *made) { m.size = 1 << 20 }), "end is missing"},
		"one for 386":                       {with(func(m *made) { m.class, m.machine = elf.ELFCLASS32, elf.EM_386 }), "neither amd64 nor arm64"},
		"one for amd64 with short pointers": {with(func(m *made) { m.class = elf.ELFCLASS32 }), "neither amd64 nor arm64"},
		"one for the other end of ARM":      {with(func(m *made) { m.machine, m.data = elf.EM_AARCH64, elf.ELFDATA2MSB }), "neither amd64 nor arm64"},
		"one for riscv64":                   {with(func(m *made) { m.machine = elf.EM_RISCV }), "EM_RISCV"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			architecture, err := static(test.program)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, %v: want an error that says %q", architecture, err, test.want)
			}
		})
	}
}

func TestAStaticProgramTellsItsArchitecture(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*made)
		want   string
	}{
		"amd64":                   {func(*made) {}, "amd64"},
		"arm64":                   {func(m *made) { m.machine = elf.EM_AARCH64 }, "arm64"},
		"one that can be moved":   {func(m *made) { m.kind = elf.ET_DYN }, "amd64"},
		"one that is Linux's own": {func(m *made) { m.abi = elf.ELFOSABI_LINUX }, "amd64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := sound()
			test.change(&m)
			if got, err := static(m.bytes(t)); err != nil || got != test.want {
				t.Errorf("got %q, %v: want %q", got, err, test.want)
			}
		})
	}
}

func TestWhatGoBuildsIsKnown(t *testing.T) {
	t.Parallel()
	for _, architecture := range []string{"amd64", "arm64"} {
		if got, err := static(compiled(t, "linux", architecture)); err != nil || got != architecture {
			t.Errorf("for %s: got %q, %v", architecture, got, err)
		}
	}
}

func TestAProgramLinkedAgainstCIsRefused(t *testing.T) {
	t.Parallel()
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Skipf("there is no /bin/sh to try: %v", err)
	}
	if !bytes.HasPrefix(shell, []byte("\x7fELF")) || !bytes.Contains(shell[:min(len(shell), 4096)], []byte("/ld-")) {
		t.Skip("/bin/sh is no program that names a dynamic linker, so there is nothing to refuse")
	}
	if _, err := static(shell); err == nil || !strings.Contains(err.Error(), "C library") {
		t.Errorf("got %v", err)
	}
}
