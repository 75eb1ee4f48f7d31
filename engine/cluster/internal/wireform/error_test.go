package wireform

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/retry"
)

var sentinels = []error{
	core.ErrInvalid, core.ErrUnsupported, core.ErrNotFound, core.ErrConflict, core.ErrFenced, core.ErrEvicted,
	core.ErrNoMember, core.ErrNoKind, core.ErrNotOwner, core.ErrBusy, core.ErrOverloaded, core.ErrUnreachable,
	core.ErrStopped, context.Canceled, context.DeadlineExceeded,
}

// cross carries err over the wire.
func cross(t *testing.T, err error) error {
	t.Helper()
	p := ErrorCodec{}.EncodeError(err)
	data, bad := proto.Marshal(p)
	if bad != nil {
		t.Fatalf("%v: %v", err, bad)
	}
	got, ok := ErrorCodec{}.DecodeError(string(p.ProtoReflect().Descriptor().FullName()), data)
	if !ok || got == nil {
		t.Fatalf("%v came back as %v, %v", err, got, ok)
	}
	return got
}

// TestErrorsAreTheSameOnBothSides crosses every sentinel and code, bare, wrapped, as an answer of a
// grain and as an error of the engine, with every delivery and with a time to try again.
func TestErrorsAreTheSameOnBothSides(t *testing.T) {
	var all []error
	for _, s := range sentinels {
		wrapped := fmt.Errorf("wrapped: %w", s)
		all = append(all, s, wrapped, core.Retry(wrapped, 30*time.Millisecond), grain.ErrorOf(wrapped), grain.Errorf(grain.Aborted, "own: %w", s))
	}
	for code := grain.Canceled; code <= grain.Unauthenticated; code++ {
		all = append(all, grain.Errorf(code, "code %v", code), fmt.Errorf("around: %w", grain.Errorf(code, "inside")))
	}
	all = append(all,
		grain.NewReason("CART_FULL", "no room"), grain.ErrorOf(errors.New("plain")), grain.ErrorOf(core.Retry(errors.New("plain"), time.Second)),
		&grain.Error{Code: grain.NotFound, Message: "with details", Details: map[string]string{"a": "b"}},
		&grain.Error{Code: grain.DataLoss, Reason: "OWN", Message: "code and reason"},
		errors.New("a plain error of the engine"),
		&actor.DeadLetterError{Target: core.PID{Address: "h:1", ID: "g/1", Member: "m"}},
		core.Retry(&actor.OverloadError{Target: core.PID{ID: "x"}}, 10*time.Millisecond),
		grain.PanicError("boom"), grain.Errorf(grain.Unknown, "not UTF-8: \xff"), errors.New(strings.Repeat("long ", 5000)),
	)
	for _, err := range all {
		for _, delivery := range []core.Delivery{core.DeliveryUnknown, core.Undelivered, core.Delivered} {
			sent := err
			if !errors.Is(err, actor.ErrDeadLetter) { // which knows its own
				sent = core.WithDelivery(err, delivery)
			}
			same(t, sent, cross(t, sent))
		}
	}
}

func same(t *testing.T, sent, got error) {
	t.Helper()
	for _, s := range append(sentinels, actor.ErrDeadLetter) {
		if errors.Is(sent, s) != errors.Is(got, s) {
			t.Errorf("%v: errors.Is %v is %v here, %v there", sent, s, errors.Is(sent, s), errors.Is(got, s))
		}
	}
	if core.DeliveryOf(sent) != core.DeliveryOf(got) {
		t.Errorf("%v: delivery %v, there %v", sent, core.DeliveryOf(sent), core.DeliveryOf(got))
	}
	after, told := core.RetryAfter(sent)
	if there, ok := core.RetryAfter(got); ok != told || there != after {
		t.Errorf("%v: retry after %v %v, there %v %v", sent, after, told, there, ok)
	}
	if grain.CodeOf(sent) != grain.CodeOf(got) || grain.ReasonOf(sent) != grain.ReasonOf(got) {
		t.Errorf("%v: %v %s, there %v %s", sent, grain.CodeOf(sent), grain.ReasonOf(sent), grain.CodeOf(got), grain.ReasonOf(got))
	}
	a, is := errors.AsType[*grain.Error](sent)
	b, there := errors.AsType[*grain.Error](got)
	if is != there {
		t.Fatalf("%v: a grain.Error here %v, there %v", sent, is, there)
	}
	if is && (a.Reason != b.Reason || !maps.Equal(a.Details, b.Details)) {
		t.Errorf("%v: %+v, there %+v", sent, a, b)
	}
	_, is = errors.AsType[*actor.DeadLetterError](sent)
	if _, there = errors.AsType[*actor.DeadLetterError](got); is != there {
		t.Errorf("%v: a dead letter here %v, there %v", sent, is, there)
	}
	if judged, far := judge(sent, retry.Policy{}), judge(got, retry.Policy{}); judged != far {
		t.Errorf("%v: judged %+v, there %+v", sent, judged, far)
	}
}

// judge says whether a call that ended with err is tried again.
func judge(err error, p retry.Policy) retry.Verdict {
	_, answered := errors.AsType[*grain.Error](err)
	return retry.Judge(err, answered, 1, p, func() float64 { return 0.5 })
}

func TestPanicCrossesWithoutItsStack(t *testing.T) {
	got := cross(t, &actor.PanicError{Value: "boom", Stack: []byte("goroutine 1 secret.go:7")})
	if grain.CodeOf(got) != grain.Internal || core.DeliveryOf(got) != core.Delivered || strings.Contains(got.Error(), "secret") {
		t.Fatalf("%v: %v, %v", got, grain.CodeOf(got), core.DeliveryOf(got))
	}
}

func TestErrorsBringThePlacement(t *testing.T) {
	place := core.Placement{PID: core.PID{Address: "h:1", ID: "g/1", Member: "m"}, Token: core.Token{Seq: 4}}
	sent := core.WithDelivery(grain.Errorf(grain.NotFound, "x"), core.Delivered)
	got := cross(t, &Placed{Err: sent, Place: place})
	if there, ok := PlaceOf(got); !ok || there != place {
		t.Errorf("place %v, %v", there, ok)
	}
	same(t, sent, got)
}

func TestDetailsAreBounded(t *testing.T) {
	e := &grain.Error{Code: grain.NotFound, Details: map[string]string{"a": strings.Repeat("x", maxDetails+1)}}
	if size := proto.Size(ErrorCodec{}.EncodeError(e)); size > 1000 {
		t.Errorf("%d bytes", size)
	}
}

func TestUnreadableErrors(t *testing.T) {
	if err, ok := (ErrorCodec{}).DecodeError("cluster.GrainErrorResponse", []byte{0xff}); !ok || grain.CodeOf(err) != grain.Internal {
		t.Errorf("%v, %v", err, ok)
	}
	if err, ok := (ErrorCodec{}).DecodeError("cluster.GrainResponse", nil); ok || err != nil {
		t.Errorf("%v, %v", err, ok)
	}
}

// TestDeadLetterPassedOnAsAnAnswerIsDelivered: a method that ran and answers with the dead letter of
// a question of its own must not be taken for one that did not run.
func TestDeadLetterPassedOnAsAnAnswerIsDelivered(t *testing.T) {
	letter := &actor.DeadLetterError{Target: core.PID{Member: "m", Address: "a:1", ID: "p"}}
	for _, delivery := range []core.Delivery{core.Undelivered, core.Delivered, core.DeliveryUnknown} {
		data, err := proto.Marshal(ErrorCodec{}.EncodeError(core.WithDelivery(letter, delivery)))
		if err != nil {
			t.Fatal(err)
		}
		back, ok := ErrorCodec{}.DecodeError("cluster.GrainErrorResponse", data)
		if !ok || core.DeliveryOf(back) != delivery {
			t.Errorf("%v came back as %v (%v)", delivery, core.DeliveryOf(back), back)
		}
	}
}

// TestOneNameForEachSentinel on the wire, whether a grain's answer or the engine's own error holds it.
func TestOneNameForEachSentinel(t *testing.T) {
	for _, s := range sentinels {
		name := grain.SentinelName(s)
		if other := convert.SentinelToProto(s); name == "" || name != other {
			t.Errorf("%v is %q and %q", s, name, other)
		}
		if grain.SentinelByName(name) != s || convert.SentinelFromProto(name) != s {
			t.Errorf("%q stands for %v and %v, want %v", name, grain.SentinelByName(name), convert.SentinelFromProto(name), s)
		}
	}
}

// TestNothingThatMayHaveRunIsTriedAgain goes over all sentinels: without leave, a delivery that is
// unknown or certain never leads to another attempt.
func TestNothingThatMayHaveRunIsTriedAgain(t *testing.T) {
	for _, s := range sentinels {
		for _, d := range []core.Delivery{core.DeliveryUnknown, core.Delivered} {
			if judge(core.WithDelivery(s, d), retry.Policy{Overloaded: true}).Retry {
				t.Errorf("%v, %v: tried again", s, d)
			}
		}
	}
}
