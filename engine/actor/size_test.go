package actor

import (
	"testing"
	"unsafe"
)

func TestSizes(t *testing.T) {
	t.Logf("cell %d, mailbox %d, more %d, side %d, ref %d, ctx %d, item %d", unsafe.Sizeof(cell{}), unsafe.Sizeof(mailbox{}), unsafe.Sizeof(more{}), unsafe.Sizeof(side{}), unsafe.Sizeof(Ref{}), unsafe.Sizeof(Context{}), unsafe.Sizeof(item{}))
}
