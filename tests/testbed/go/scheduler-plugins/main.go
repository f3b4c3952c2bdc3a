// The coscheduling scheduler of scheduler-plugins and the controller that keeps its PodGroups, in one program.
//
// The name the program is called by picks the part, else the first argument does. It is a program of its own and not a
// part of the Kubernetes one, so that neither has to be built anew when the other changes.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	_ "sigs.k8s.io/scheduler-plugins/apis/config/scheme"
	controller "sigs.k8s.io/scheduler-plugins/cmd/controller/app"
	"sigs.k8s.io/scheduler-plugins/pkg/coscheduling"
)

func main() {
	os.Args[0] = filepath.Base(os.Args[0])
	switch os.Args[0] {
	case "coscheduling-scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand(scheduler.WithPlugin(coscheduling.Name, coscheduling.New))))
	case "coscheduling-controller":
		options := controller.NewServerRunOptions()
		pflag.Parse()
		if err := controller.Run(options); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "%q is no part; wanted coscheduling-scheduler or coscheduling-controller\n", os.Args[0])
		os.Exit(2)
	}
}
