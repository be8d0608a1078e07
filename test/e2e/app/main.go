// Command app is what the end-to-end tests run on a real node: it says which image it is in, waits, and ends when it is told to.
//
// The image holds the text to say at /says, so that two images with the same program are told apart by their logs. Run as
// `app done` inside the same container, by kubectl exec, it has the waiting one end well, as a Job's work does.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// waiting is the process that waits: the container's first.
const waiting = 1

// grace lets `app done` end by itself: what runs in a container is killed when its first process has ended.
const grace = time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) == 2 && os.Args[1] == "done" {
		return syscall.Kill(waiting, syscall.SIGUSR1)
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	says, err := os.ReadFile("/says")
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", says)
	if <-told == syscall.SIGUSR1 {
		time.Sleep(grace)
	}
	return nil
}
