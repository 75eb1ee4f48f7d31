// Package actor runs actors within one process. It knows no network and no protobuf: package remote
// brings messages in by System.Deliver and carries them out as a Process.
//
// # Actors
//
// An Actor is state with a mailbox: it handles one message at a time, so what only it touches needs no
// lock. A System spawns it by Props, which say how it is made, and gives a Ref, by which others send to
// it:
//
//	sys, err := actor.New(actor.Config{})
//	ref, err := sys.Spawn(actor.FromFunc(func(c *actor.Context) {
//		if name, ok := c.Message().(string); ok {
//			c.Respond("hello " + name)
//		}
//	}))
//	text, err := actor.Answer[string](ref.Ask(ctx, "you"))
//
// An actor gets, besides what is sent to it, lifecycle messages: Started first, Stopping and Stopped at
// the end, Restarting before a new incarnation takes its place. It may block: it holds up nobody else.
//
// # Messages
//
// Ref.Tell and Ref.Send queue a message and return at once. Messages of one sender to one actor are
// handled in the order in which they were sent, at most once. A message belongs to the receiver once it
// is sent: nobody touches it after that, or only reads. An error means that the message was not taken and
// will not be handled, and core.DeliveryOf says so.
//
// Ref.Ask waits for the one answer, no longer than its ctx. Inside an actor that would hold up its other
// messages: Context.RequestFuture with Context.ReenterAfter goes on when the answer is there, and
// Context.Request has the answer come as a message.
//
// # Mailboxes
//
// A mailbox is bounded, 4,096 messages and 64 MiB by default, and refuses what does not fit with
// core.ErrOverloaded; MailboxConfig tells of the other kinds. Past the bound, and before the messages
// that wait, go those of the runtime: Stop, Watch, Terminated, timers and continuations, which an actor
// made itself.
//
// # Failure
//
// A panic in an actor's code, or the end of its goroutine, is the failure of that actor alone. Whoever
// waits for the answer of the message in hand gets a *PanicError; then the actor's supervisor decides by
// its Strategy: Restart (the default, ten times in ten seconds), Resume, Halt or Escalate. Until then
// the actor's messages wait. The supervisor of a child is the actor that spawned it. An actor without a
// parent has a guardian, and what is escalated beyond that stops the actor, never the process.
//
// # The end
//
// Ref.Stop ends an actor after the message in hand, Ref.Poison after those queued before; the forms with
// Wait return when it has ended. Its children end first. What is left in the mailbox becomes dead
// letters, and who asked is told. An actor that watches another (Context.Watch) gets a *Terminated.
//
// Context.StopIfIdle is for an actor that ends for lack of work: in one step it finds its mailbox empty
// and closes it, so that a message is either handled or refused, never lost.
//
// # What the engine uses
//
// SpawnActor, Register, SetRemote, Deliver, Nudge, Ref.SendUngated, NewAsk, Props.Gate and Props.Closed
// are for the packages above, and are safe for everybody.
package actor
