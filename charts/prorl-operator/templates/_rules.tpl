{{/*
The operator's rights where it serves jobs, verb by verb. What is not here it does not do: it reads no Secret, deletes
no pod, changes no spec of a person's object, and knows no `*`.
*/}}
{{- define "prorl-operator.jobRules" -}}
{{ include "prorl-operator.ownRules" . }}
# Children. Only those with the label prorl.dev/job are asked for; a role cannot say so.
- apiGroups: [""]
  resources: [pods, configmaps]
  verbs: [list, watch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch]
# Its own fields of the status, by server-side apply. Specs belong to people: no verb changes them.
- apiGroups: [prorl.dev]
  resources: [prorljobs/status, prorlresets/status]
  verbs: [patch]
# Finished jobs with ttlSecondsAfterFinished.
- apiGroups: [prorl.dev]
  resources: [prorljobs]
  verbs: [delete]
# Whether several learner pods can share the run folder's claim.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# It proposes resets; on a name conflict it reads back whose the other one is.
- apiGroups: [prorl.dev]
  resources: [prorlresets]
  verbs: [get, create]
# Clusters that check who may block an owner's deletion (OwnerReferencesPermissionEnforcement, on in OpenShift) ask for
# this before they take a child with blockOwnerDeletion.
- apiGroups: [prorl.dev]
  resources: [prorljobs/finalizers]
  verbs: [update]
# A learner's attempt is one Job: created once, never changed, deleted when it is over.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, delete]
# Rollout servers and sandboxes. Server-side apply is patch, and create where there is nothing yet; patch scales.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, patch, delete]
# The plan of a run, and the addresses of its parts: applied, and deleted when the run is over.
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [create, patch, delete]
# The tokens of a run. No get, list or watch: what is in Secrets is never asked for, nor which there are. A patch answers
# with the object though, so whoever runs as the operator can read a Secret whose name is known: hence watchNamespaces.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
# Who may talk to whom.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, patch, delete]
# How many pods of a run a drain may take at once.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, patch, delete]
# Jobs with spec.scheduling.gang: the groups that the coscheduling scheduler places together. Applied before the pods;
# listed and deleted when an attempt or the run is over, since they are not watched.
- apiGroups: [scheduling.x-k8s.io]
  resources: [podgroups]
  verbs: [create, patch, list, delete]
# What happened to a job, for `kubectl describe`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
# Why a Job has no pods, such as a quota: its controller says so in events alone.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end -}}

{{/*
What kopf watches. It watches each kind in all its namespaces or in none, so that the Lease, whose renewals show that the
watches live, is among them, and in a list of namespaces its own is too.
*/}}
{{- define "prorl-operator.ownRules" -}}
- apiGroups: [prorl.dev]
  resources: [prorljobs, prorlresets]
  verbs: [list, watch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "prorl-operator.leaseName" . }}]
  verbs: [list, watch]
{{- end -}}

{{/* Who leads. A role cannot name what does not exist yet: create is for any Lease of the operator's own namespace. */}}
{{- define "prorl-operator.leaderRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "prorl-operator.leaseName" . }}]
  verbs: [get, update]
{{- end -}}
