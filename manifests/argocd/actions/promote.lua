-- Each new value of the annotation is one command.
local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["paas.shurenyun.com/rollout-promote"] = os.date("!%Y-%m-%dT%XZ")
return obj
