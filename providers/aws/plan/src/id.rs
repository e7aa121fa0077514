use std::fmt;

/// A string newtype with what every identifier needs, so that an ARN is never passed where a group id belongs.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text that AWS knows it by.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// `LoadBalancerArn`.
    LoadBalancerArn
);
identifier!(
    /// `ListenerArn`.
    ListenerArn
);
identifier!(
    /// `TargetGroupArn`.
    TargetGroupArn
);
identifier!(
    /// `GroupId` of a security group, `sg-…`.
    SecurityGroupId
);
identifier!(
    /// `SubnetId`, `subnet-…`.
    SubnetId
);
identifier!(
    /// `InstanceId`, `i-…`.
    InstanceId
);
