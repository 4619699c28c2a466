if obj.kind == "PaasApp" then
  obj.spec.management = obj.spec.management or {}
  obj.spec.management.suspend = false
else
  obj.spec.suspend = false
end
return obj
