package policy

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
)

// What functions and operators answer, beside errKind.
var (
	errRange     = errors.New("a number or time is out of range")
	errZero      = errors.New("division by zero")
	errNoKey     = errors.New("no such key")
	errNoIndex   = errors.New("no such index")
	errNoTime    = errors.New("a text is no time of RFC 3339, such as 2026-11-22T09:00:00Z")
	errNoSpan    = errors.New("a text is no length of time, such as 36h")
	errNoNumber  = errors.New("a text is no number")
	errUnordered = errors.New("what is no number can't be put in order")
)

// unaryFunction returns a function or operator of one value, by CEL's name for it; nil where rules have none of the name.
func unaryFunction(name string) func(v *variables, a any) (any, error) {
	switch name {
	case operators.LogicalNot:
		return func(_ *variables, a any) (any, error) {
			is, ok := a.(bool)
			return !is, kindOr(ok, nil)
		}
	case operators.Negate:
		return negate
	case overloads.Size:
		return size
	case overloads.TypeConvertString:
		return toText
	case overloads.TypeConvertInt:
		return toInt
	case overloads.TypeConvertDouble:
		return toDouble
	case overloads.TypeConvertTimestamp:
		return toTime
	case overloads.TypeConvertDuration:
		return toSpan
	}
	if get := calendar(name); get != nil {
		return func(_ *variables, a any) (any, error) { return get(a) }
	}
	return nil
}

// binaryFunction returns one of two values.
func binaryFunction(name string) func(v *variables, a, b any) (any, error) {
	switch name {
	case operators.Equals:
		return func(v *variables, a, b any) (any, error) { return v.equal(a, b) }
	case operators.NotEquals:
		return func(v *variables, a, b any) (any, error) {
			same, err := v.equal(a, b)
			return !same, err
		}
	case operators.Less:
		return ordered(func(n int) bool { return n < 0 })
	case operators.LessEquals:
		return ordered(func(n int) bool { return n <= 0 })
	case operators.Greater:
		return ordered(func(n int) bool { return n > 0 })
	case operators.GreaterEquals:
		return ordered(func(n int) bool { return n >= 0 })
	case operators.In:
		return in
	case operators.Index:
		return index
	case operators.Add:
		return add
	case operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		return func(_ *variables, a, b any) (any, error) { return reckon(name, a, b) }
	case overloads.StartsWith:
		return ofTexts(strings.HasPrefix)
	case overloads.EndsWith:
		return ofTexts(strings.HasSuffix)
	case overloads.Contains:
		return ofTexts(strings.Contains)
	}
	return nil
}

func kindOr(ok bool, err error) error {
	if !ok {
		return errKind
	}
	return err
}

// ofTexts is a function of two texts that goes through them.
func ofTexts(f func(a, b string) bool) func(v *variables, a, b any) (any, error) {
	return func(v *variables, a, b any) (any, error) {
		one, ok := a.(string)
		other, both := b.(string)
		if !ok || !both {
			return nil, errKind
		}
		if err := v.spend(uint64(len(one)+len(other)) / bytesAUnit); err != nil {
			return nil, err
		}
		return f(one, other), nil
	}
}

// ordered is a comparison.
func ordered(is func(int) bool) func(v *variables, a, b any) (any, error) {
	return func(v *variables, a, b any) (any, error) {
		n, err := v.order(a, b)
		return is(n), err
	}
}

func size(v *variables, a any) (any, error) {
	switch a := a.(type) {
	case string:
		return runes(v, a)
	case []any:
		return int64(len(a)), nil
	case map[string]any:
		return int64(len(a)), nil
	}
	return nil, errKind
}

// runes is how many characters a text has.
func runes(v *variables, s string) (any, error) {
	if err := v.spend(uint64(len(s)) / bytesAUnit); err != nil {
		return nil, err
	}
	return int64(utf8.RuneCountInString(s)), nil
}

// in tells whether a list has a value, or a map a key.
func in(v *variables, a, b any) (any, error) {
	switch b := b.(type) {
	case []any:
		for _, of := range b {
			if err := v.spend(1); err != nil {
				return nil, err
			}
			if same, err := v.equal(a, of); same || err != nil {
				return same, err
			}
		}
		return false, nil
	case map[string]any:
		name, ok := a.(string)
		if err := v.spend(uint64(len(name)) / bytesAUnit); err != nil {
			return nil, err
		}
		_, has := b[name]
		return ok && has, nil
	}
	return nil, errKind
}

func index(v *variables, a, b any) (any, error) {
	switch a := a.(type) {
	case []any:
		n, ok := b.(int64)
		switch {
		case !ok:
			return nil, errKind
		case n < 0 || n >= int64(len(a)):
			return nil, errNoIndex
		}
		return a[n], nil
	case map[string]any:
		name, ok := b.(string)
		if err := v.spend(uint64(len(name)) / bytesAUnit); err != nil {
			return nil, err
		}
		value, has := a[name]
		if !ok || !has {
			return nil, errNoKey
		}
		return value, nil
	}
	return nil, errKind
}

func toText(v *variables, a any) (any, error) {
	switch a := a.(type) {
	case string:
		return a, nil
	case bool:
		return strconv.FormatBool(a), nil
	}
	if err := v.spend(parsingCost); err != nil {
		return nil, err
	}
	switch a := a.(type) {
	case int64:
		return strconv.FormatInt(a, 10), nil
	case float64:
		return strconv.FormatFloat(a, 'g', -1, 64), nil
	case time.Time:
		return a.UTC().Format(time.RFC3339Nano), nil
	case time.Duration:
		return strconv.FormatFloat(a.Seconds(), 'f', -1, 64) + "s", nil
	}
	return nil, errKind
}

// reading charges for reading a text, which may be so long.
func (v *variables) reading(s string, otherwise error) error {
	if err := v.spend(parsingCost); err != nil {
		return err
	}
	if len(s) > maxParseText {
		return otherwise
	}
	return nil
}

func toInt(v *variables, a any) (any, error) {
	switch a := a.(type) {
	case int64:
		return a, nil
	case float64:
		if !(a > math.MinInt64 && a < math.MaxInt64) {
			return nil, errRange
		}
		return int64(a), nil
	case time.Time:
		return a.Unix(), nil
	case time.Duration:
		return int64(a), nil
	case string:
		if err := v.reading(a, errNoNumber); err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(a, 10, 64)
		if err != nil {
			return nil, errNoNumber
		}
		return n, nil
	}
	return nil, errKind
}

func toDouble(v *variables, a any) (any, error) {
	switch a := a.(type) {
	case int64:
		return float64(a), nil
	case float64:
		return a, nil
	case string:
		if err := v.reading(a, errNoNumber); err != nil {
			return nil, err
		}
		n, err := strconv.ParseFloat(a, 64)
		if err != nil {
			return nil, errNoNumber
		}
		return n, nil
	}
	return nil, errKind
}

func toTime(v *variables, a any) (any, error) {
	switch a := a.(type) {
	case time.Time:
		return a, nil
	case int64:
		return timely(time.Unix(a, 0))
	case string:
		if err := v.reading(a, errNoTime); err != nil {
			return nil, err
		}
		t, err := time.Parse(time.RFC3339, a)
		if err != nil {
			return nil, errNoTime
		}
		return timely(t)
	}
	return nil, errKind
}

// timely bounds a time to those that CEL has: of the years 1 to 9999.
func timely(t time.Time) (any, error) {
	if t.Unix() < -62135596800 || t.Unix() > 253402300799 {
		return nil, errRange
	}
	return t.UTC(), nil
}

func toSpan(v *variables, a any) (any, error) {
	switch a := a.(type) {
	case time.Duration:
		return a, nil
	case string:
		if err := v.reading(a, errNoSpan); err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(a)
		if err != nil {
			return nil, errNoSpan
		}
		return d, nil
	}
	return nil, errKind
}

// calendar returns a function that tells a part of a time, in UTC, or of a length of time, as CEL counts them.
func calendar(name string) func(a any) (any, error) {
	of := func(time func(time.Time) int, span func(time.Duration) int64) func(a any) (any, error) {
		return func(a any) (any, error) { return partOf(a, time, span) }
	}
	switch name {
	case overloads.TimeGetFullYear:
		return of(time.Time.Year, nil)
	case overloads.TimeGetMonth:
		return of(func(t time.Time) int { return int(t.Month()) - 1 }, nil)
	case overloads.TimeGetDate:
		return of(time.Time.Day, nil)
	case overloads.TimeGetDayOfMonth:
		return of(func(t time.Time) int { return t.Day() - 1 }, nil)
	case overloads.TimeGetDayOfWeek:
		return of(func(t time.Time) int { return int(t.Weekday()) }, nil)
	case overloads.TimeGetDayOfYear:
		return of(func(t time.Time) int { return t.YearDay() - 1 }, nil)
	case overloads.TimeGetHours:
		return of(time.Time.Hour, func(d time.Duration) int64 { return int64(d.Hours()) })
	case overloads.TimeGetMinutes:
		return of(time.Time.Minute, func(d time.Duration) int64 { return int64(d.Minutes()) })
	case overloads.TimeGetSeconds:
		return of(time.Time.Second, func(d time.Duration) int64 { return int64(d.Seconds()) })
	case overloads.TimeGetMilliseconds:
		return of(func(t time.Time) int { return t.Nanosecond() / 1e6 }, time.Duration.Milliseconds)
	}
	return nil
}

func partOf(a any, of func(time.Time) int, span func(time.Duration) int64) (any, error) {
	switch a := a.(type) {
	case time.Time:
		return int64(of(a.UTC())), nil
	case time.Duration:
		if span != nil {
			return span(a), nil
		}
	}
	return nil, errKind
}
