//go:build race

package verify

// RaceBuild says that the race detector is in: it allots each short string by itself, and empties pools at random.
const RaceBuild = true
