-- Health of every kind of paas.shurenyun.com. The order matters: what the present generation says, what needs a person, what is held, then Ready.
local status = obj.status
if obj.metadata.deletionTimestamp ~= nil then
  local why = "is being deleted"
  for _, condition in ipairs((status or {}).conditions or {}) do
    if condition.type == "Ready" and condition.message ~= nil and condition.message ~= "" then why = condition.message end
  end
  return {status = "Progressing", message = why}
end
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at this generation yet"}
end
local found = {}
for _, condition in ipairs(status.conditions) do found[condition.type] = condition end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return {status = "Degraded", message = found.Stalled.message}
end
if found.Suspended ~= nil and found.Suspended.status == "True" then
  return {status = "Suspended", message = found.Suspended.message}
end
if found.Ready ~= nil and found.Ready.status == "True" then
  return {status = "Healthy", message = found.Ready.message}
end
return {status = "Progressing", message = (found.Ready or found.Reconciling or {}).message or ""}
