package consulapi

import (
	_ "github.com/hashicorp/consul/api"
	_ "github.com/hashicorp/consul/sdk/testutil"
)
