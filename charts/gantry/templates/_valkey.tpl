{{/* How a Valkey is run here: in memory alone, within its container's limit, and forgetting what was not used for longest. */}}

{{/*
Bytes that Valkey may fill, from its container's memory limit: (dict "limit" "128Mi" "percent" 70 "name" "cache.resources.limits.memory").
`name` is the value that a sentence of refusal names.
*/}}
{{- define "gantry.valkey.maxmemory" -}}
{{- $name := .name | default "the memory limit of Valkey" }}
{{- if not .limit }}
{{- fail (printf "%s is required: what Valkey may fill is computed from it; set it to something like 128Mi" $name) }}
{{- end }}
{{- /* A plain number comes from YAML as a float, which prints as 1.34217728e+08. */}}
{{- $limit := kindIs "string" .limit | ternary .limit (int64 .limit | toString) }}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|k|M|G)?$" $limit) }}
{{- fail (printf "%s is %q, which Valkey's memory can't be computed from: write bytes as a plain number or with Ki, Mi, Gi, k, M or G, such as 128Mi" $name $limit) }}
{{- end }}
{{- $unit := regexFind "[A-Za-z]*$" $limit }}
{{- $sizes := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 }}
{{- divf (mulf (trimSuffix $unit $limit | float64) (get $sizes $unit) .percent) 100 | floor | int64 }}
{{- end }}

{{/*
Arguments of valkey-server that the cache and the limits have in common, as a YAML list; same argument as gantry.valkey.maxmemory.
One of them is empty: hand them on as they are (`"$@"` in a shell), not joined by blanks.
*/}}
{{- define "gantry.valkey.args" -}}
- --maxmemory
- {{ include "gantry.valkey.maxmemory" . | quote }}
- --maxmemory-policy
- allkeys-lru
{{- /* What clients have not read yet counts as well: a slow one is cut off before it displaces entries. */}}
- --maxmemory-clients
- 10%
- --save
- ""
- --appendonly
- "no"
- --databases
- "1"
{{- /* Whoever reaches it may use it: a volume of the pod or a network policy decides, and a password where there is one. */}}
- --protected-mode
- "no"
- --lazyfree-lazy-eviction
- "yes"
- --lazyfree-lazy-expire
- "yes"
{{- end }}
