-- Each new value of the annotation replaces all tasks once, within upgradeStrategy.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["paas.shurenyun.com/restart"] = os.date("!%Y-%m-%dT%XZ")
return obj
