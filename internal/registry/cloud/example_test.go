package cloud_test

import (
	"context"
	"fmt"

	"github.com/pratique-dev/pratique/internal/registry/cloud"
)

func ExampleNewECR() {
	login := cloud.NewECR(cloud.Options{})
	_, _, _, err := login(context.Background(), "public.ecr.aws")
	fmt.Println(err)
	// Output: login to public.ecr.aws: no registry of Amazon ECR has this name, so nothing was asked: want ACCOUNT.dkr.ecr.REGION.amazonaws.com, in China .com.cn, or auth.secretRef
}

func ExampleNewGAR() {
	login := cloud.NewGAR(cloud.Options{})
	_, _, _, err := login(context.Background(), "gcr.io.evil.example")
	fmt.Println(err)
	// Output: login to gcr.io.evil.example: no registry of Google Artifact Registry has this name, so nothing was asked: want REGION-docker.pkg.dev or gcr.io with us., eu., asia. or nothing before it, or auth.secretRef
}

func ExampleNewACR() {
	login := cloud.NewACR(cloud.Options{})
	_, _, _, err := login(context.Background(), "x.azurecr.io.evil.example")
	fmt.Println(err)
	// Output: login to x.azurecr.io.evil.example: no registry of Azure Container Registry has this name, so nothing was asked: want NAME.azurecr.io, .cn or .us in small letters, or auth.secretRef
}

func ExampleCheckACR() {
	fmt.Println(cloud.CheckACR("acmeregistry.azurecr.io"))
	// Output: <nil>
}
