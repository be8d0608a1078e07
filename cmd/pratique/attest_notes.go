package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

// aheadBy is how far a predicate's own time may lie ahead before that is told: clocks differ, but by less.
const aheadBy = 5 * time.Minute

// shortSuffix is how many bytes two predicate types may differ by at their end and still be taken for one, misspelled: a version is shorter.
const shortSuffix = 8

// ownTypes is what the predicate types of this project begin with.
const ownTypes = "https://pratique.dev/"

// oddType says what is probably not meant by a predicate type that no reader knows; empty if there is nothing to say.
func oddType(predicateType string) string {
	var known []string
	for k := predicate.KindSBOM; k.Types() != nil; k++ {
		for _, t := range k.Types() {
			if begin, open := strings.CutSuffix(t, "*"); predicateType == t || open && strings.HasPrefix(predicateType, begin) {
				return ""
			} else if !open {
				known = append(known, t)
			}
		}
	}
	lower := strings.ToLower(predicateType)
	for _, t := range known {
		other := strings.ToLower(t)
		apart := max(len(lower), len(other)) - min(len(lower), len(other))
		if apart <= shortSuffix && (strings.HasPrefix(lower, other) || strings.HasPrefix(other, lower)) {
			return fmt.Sprintf("%s is not %s: only a custom rule of that very type reads it", predicateType, t)
		}
	}
	if strings.HasPrefix(lower, ownTypes) {
		return fmt.Sprintf("%s is none of the types of this release: only a custom rule of that very type reads it", predicateType)
	}
	return ""
}

// dated says that a predicate is dated ahead, if it is by more than clocks differ; empty if not, or if it doesn't say.
func dated(predicateType string, text []byte, now time.Time) string {
	facts, err := predicate.Read(predicateType, text)
	if err != nil || !facts.Time().After(now.Add(aheadBy)) {
		return ""
	}
	return fmt.Sprintf("the predicate is dated ahead, %s: it is refused until then", facts.Time().UTC().Format(time.RFC3339))
}
