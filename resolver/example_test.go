package resolver_test

import (
	"fmt"

	"lictor/resolver"
)

func ExampleCatalog() {
	before := resolver.NewCatalog(
		&resolver.Service{Name: "shop", Loaded: true, Instances: []*resolver.Instance{
			{ID: "shop-1", Address: "10.0.0.1:80", Weight: 1, State: resolver.Passing},
			{ID: "shop-2", Address: "10.0.0.2:80", Weight: 1, State: resolver.Maintenance},
		}},
		&resolver.Service{Name: "cart"},
	)
	after := before.With([]*resolver.Service{{Name: "cart", Loaded: true}}, nil)

	for _, i := range after.Lookup("shop").Instances {
		fmt.Println(i.ID, i.State, i.Usable())
	}
	fmt.Println("shop changed:", after.Lookup("shop") != before.Lookup("shop"))
	fmt.Println("cart changed:", after.Lookup("cart") != before.Lookup("cart"))
	// Output:
	// shop-1 passing true
	// shop-2 maintenance false
	// shop changed: false
	// cart changed: true
}
