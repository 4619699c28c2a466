if obj.kind == "PaasApp" then
  obj.spec.management = obj.spec.management or {}
  obj.spec.management.suspend = true
else
  obj.spec.suspend = true
end
return obj
