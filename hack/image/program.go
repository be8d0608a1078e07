package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
)

// program is a static program for one platform.
type program struct {
	architecture string // in Go's words, which are the OCI specification's
	data         []byte
}

// open reads a program. It must be for the architecture that is wanted, if any is.
func open(path, want string) (program, error) {
	if want != "" && want != "amd64" && want != "arm64" {
		return program{}, fmt.Errorf("there are images for amd64 and arm64, and none for %q", want)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return program{}, err
	}
	architecture, err := static(data)
	if err != nil {
		return program{}, err
	}
	if want != "" && want != architecture {
		return program{}, fmt.Errorf("it is for %s and not for %s: build it with GOARCH=%[2]s", architecture, want)
	}
	return program{architecture, data}, nil
}

// static makes sure that a program runs on linux where there is nothing but itself, and returns its architecture.
// An image of any other would be made, pushed and rolled out before "exec format error" or "no such file" told.
func static(program []byte) (architecture string, err error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", fmt.Errorf("it is no program for linux: %w", err)
	}
	if f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX {
		return "", fmt.Errorf("it is no program for linux: its system is %v: build it with GOOS=linux", f.OSABI)
	}
	if (f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN) || f.Entry == 0 {
		return "", fmt.Errorf("it is no program: it is of type %v and begins at %#x", f.Type, f.Entry)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", errors.New("it is linked against a C library, which the image doesn't have: build it with CGO_ENABLED=0")
		}
		if p.Type == elf.PT_LOAD && (p.Off > uint64(len(program)) || p.Filesz > uint64(len(program))-p.Off) {
			return "", errors.New("its end is missing: build it anew")
		}
	}
	if needed, err := f.ImportedLibraries(); err != nil || len(needed) > 0 {
		return "", fmt.Errorf("it needs libraries, which the image doesn't have: %q: build it with CGO_ENABLED=0", needed)
	}
	switch {
	case f.Machine == elf.EM_X86_64 && f.Class == elf.ELFCLASS64:
		return "amd64", nil
	case f.Machine == elf.EM_AARCH64 && f.Class == elf.ELFCLASS64 && f.Data == elf.ELFDATA2LSB:
		return "arm64", nil
	}
	return "", fmt.Errorf("it is for %v (%v, %v), which is neither amd64 nor arm64", f.Machine, f.Class, f.Data)
}
