package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func Example() {
	fmt.Println(run(context.Background(), os.Stdout))
	// Output:
	// added tea: 1 different
	// added tea: 1 different
	// added milk: 2 different
	// added honey: 3 different
	// CART_FULL: the cart of alice has no room for piano
	// in the cart: map[honey:1 milk:1 tea:2]
	// <nil>
}
