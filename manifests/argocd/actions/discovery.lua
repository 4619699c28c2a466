-- Which actions can be taken now. What a kind does not have is left out where this is put into argocd-cm.
local suspended = obj.spec.suspend == true or (obj.spec.management ~= nil and obj.spec.management.suspend == true)
local rollout = obj.spec.rollout ~= nil and obj.spec.rollout.strategy == "Gated" and not suspended
return {
  suspend = {disabled = suspended},
  resume = {disabled = not suspended},
  restart = {disabled = suspended},
  promote = {disabled = not rollout},
  abort = {disabled = not rollout},
}
